//! How processes that know a machine and a port find each other: the first rank listens there, the
//! others come, and hear from it where each of them listens for those behind it.
//!
//! Anybody can knock at a port: who has not said the right words within a second is sent away, and
//! nothing that a stranger says decides how much memory is taken.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::super::Waiting;
use super::super::launch::Master;
use super::error::{MeetingError, Ports};
use super::socket::{self, anywhere, has_spoken, is_near, is_open};
use super::words::{Answer, Hello, Place, address, place};

/// Ranks that can meet: each keeps a connection to every other, and 256 files are what some systems
/// allow a process.
pub(super) const MOST: usize = 200;
/// How long somebody who knocks may take to say who it is.
const TO_SPEAK: Duration = Duration::from_secs(1);
/// How long a connection may take.
const TO_CONNECT: Duration = Duration::from_secs(1);
/// How long a rank may take to answer: it hears one after the other.
const TO_ANSWER: Duration = Duration::from_secs(5);
/// How long ranks that have all come to rank 0 may take to come to each other.
const TO_JOIN: Duration = Duration::from_secs(120);
/// Between two looks at a port.
const PAUSE: Duration = Duration::from_millis(20);

/// A rank that has come to this one.
struct Guest {
    link: TcpStream,
    place: Place,
}

/// Connects a rank to all others: a connection for each, none for itself.
pub(super) fn meet(
    rank: usize,
    size: usize,
    master: &Master,
    waiting: Waiting<'_>,
) -> Result<Vec<Option<TcpStream>>, MeetingError> {
    if size > MOST {
        return Err(MeetingError::TooMany { size });
    }
    let end = Instant::now() + waiting.patience;
    let meeting = Meeting { rank, size, master, waiting, end };
    if rank == 0 { meeting.receive_all() } else { meeting.join() }
}

/// A rank, and what it knows of the others when it starts.
struct Meeting<'a> {
    rank: usize,
    size: usize,
    master: &'a Master,
    waiting: Waiting<'a>,
    end: Instant,
}

/// Those who have come to a rank, in the order of all ranks.
struct Guests {
    come: Vec<Option<Guest>>,
    /// What was the matter with the last one that does not belong here.
    refused: Option<&'static str>,
}

impl Meeting<'_> {
    /// What ranks of one run have in common.
    fn run(&self) -> u64 {
        let Master { port, run, .. } = self.master;
        crc32c::crc32c(format!("{run} {port}").as_bytes()).into()
    }

    fn ports(&self) -> Ports {
        Ports::of(self.master)
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.end || self.is_stopped()
    }

    fn is_stopped(&self) -> bool {
        self.waiting.stop.load(Ordering::Relaxed)
    }

    /// What to say where waiting is over.
    fn over(&self, late: MeetingError) -> MeetingError {
        if self.is_stopped() { MeetingError::Stopped } else { late }
    }

    /// Within so much time, and not behind the end.
    fn within(&self, time: Duration) -> Instant {
        self.end.min(Instant::now() + time)
    }

    /// Rank 0: waits for all others, and tells them where they are.
    fn receive_all(&self) -> Result<Vec<Option<TcpStream>>, MeetingError> {
        let listener = self.listen()?;
        let port = listener.local_addr().map_or(self.master.port, |address| address.port());
        let mut guests = self.nobody();
        let others = self.size - 1;
        let address = &self.master.address;
        self.tell(&format!("rank 0 waits for {others} more at {address}, port {port}"));
        while !self.are_here(&mut guests) {
            if self.is_over() {
                let ranks = self.later().filter(|rank| guests.come[*rank].is_none()).collect();
                let (address, refused) = (self.master.address.clone(), guests.refused);
                let (size, waited) = (self.size, self.waiting.patience);
                let late = MeetingError::Missing { ranks, size, address, port, waited, refused };
                return Err(self.over(late));
            }
            if let Some((link, hello)) = self.next_comer(&listener) {
                self.admit(&mut guests, link, hello);
            }
        }
        let places: Vec<Place> = guests
            .come
            .iter()
            .map(|guest| guest.as_ref().map_or([0; 3], |guest| guest.place))
            .collect();
        let mut links = vec![None];
        for (rank, guest) in guests.come.into_iter().enumerate().skip(1) {
            let told = guest.map(|guest| guest.link).and_then(|mut link| {
                link.write_all(bytemuck::cast_slice(&places)).ok().map(|()| link)
            });
            links.push(Some(told.ok_or(MeetingError::Lost { rank })?));
        }
        Self { end: Instant::now() + TO_JOIN, ..*self }.begin(links)
    }

    /// Rank 0: waits until all have met each other and says so. Until then nobody sends anything
    /// else, so that one that is gone shows.
    fn begin(
        &self,
        mut links: Vec<Option<TcpStream>>,
    ) -> Result<Vec<Option<TcpStream>>, MeetingError> {
        let mut ready = vec![false; links.len()];
        ready[0] = true;
        while let Some(waiting) = ready.iter().position(|ready| !ready) {
            if self.is_over() {
                return Err(self.over(MeetingError::Lost { rank: waiting }));
            }
            for (rank, link) in links.iter_mut().enumerate() {
                let Some(link) = link else { continue };
                if !is_open(link) {
                    return Err(MeetingError::Lost { rank });
                }
                if !ready[rank] && has_spoken(link) {
                    let heard = Answer::hear(link, self.within(TO_ANSWER));
                    heard.map_err(|_| MeetingError::Lost { rank })?;
                    ready[rank] = true;
                }
            }
            std::thread::sleep(PAUSE);
        }
        for (rank, link) in links.iter_mut().enumerate() {
            let Some(link) = link else { continue };
            Answer::Welcome.say(link).map_err(|_| MeetingError::Lost { rank })?;
        }
        settled(links)
    }

    /// Waits until rank 0 says something.
    fn wait_for_word(&self, first: &TcpStream) -> Result<(), MeetingError> {
        while !has_spoken(first) {
            if self.is_stopped() {
                return Err(MeetingError::Stopped);
            }
            if !is_open(first) {
                return Err(MeetingError::Lost { rank: 0 });
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Any other rank: goes to rank 0, from there to all before it, and waits for those behind it.
    fn join(self) -> Result<Vec<Option<TcpStream>>, MeetingError> {
        let (mut first, listener) = self.reach_first()?;
        let lost = |_: io::Error| MeetingError::Lost { rank: 0 };
        let mut places: Vec<Place> = vec![[0; 3]; self.size];
        // Rank 0 says itself how long it waits for the others.
        socket::settle(&first).map_err(lost)?;
        self.wait_for_word(&first)?;
        first.read_exact(bytemuck::cast_slice_mut(&mut places)).map_err(lost)?;
        let near = first.peer_addr().map_err(lost)?;
        let meeting = Self { end: Instant::now() + TO_JOIN, ..self };
        let mut links = vec![Some(first)];
        for (rank, place) in places.iter().enumerate().take(meeting.rank).skip(1) {
            links.push(Some(meeting.visit(rank, address(*place, near))?));
        }
        let mut links = meeting.receive_later(&listener, links)?;
        if let Some(first) = &mut links[0] {
            // That all ranks have met, by those who begin only then.
            Answer::Welcome.say(first).map_err(lost)?;
            meeting.wait_for_word(first)?;
            Answer::hear(first, Instant::now() + TO_ANSWER).map_err(lost)?;
        }
        settled(links)
    }

    /// Waits for all ranks behind this one, as long as those before it are there.
    fn receive_later(
        &self,
        listener: &TcpListener,
        links: Vec<Option<TcpStream>>,
    ) -> Result<Vec<Option<TcpStream>>, MeetingError> {
        let mut guests = self.nobody();
        while !self.are_here(&mut guests) {
            let gone = links.iter().flatten().position(|link| !is_open(link));
            if let Some(rank) = gone {
                return Err(MeetingError::Lost { rank });
            }
            if self.is_over() {
                let missing = self.later().find(|rank| guests.come[*rank].is_none());
                let late = MeetingError::Lost { rank: missing.unwrap_or(self.rank) };
                return Err(self.over(late));
            }
            if let Some((link, hello)) = self.next_comer(listener) {
                self.admit(&mut guests, link, hello);
            }
        }
        let come = guests.come.into_iter().map(|guest| guest.map(|guest| guest.link));
        Ok(links.into_iter().chain(come.skip(self.rank)).collect())
    }

    fn tell(&self, what: &str) {
        (self.waiting.tell)(what);
    }

    fn nobody(&self) -> Guests {
        Guests { come: (0..self.size).map(|_| None).collect(), refused: None }
    }

    /// The ranks that come to this one.
    fn later(&self) -> std::ops::Range<usize> {
        self.rank + 1..self.size
    }

    /// Whether all have come and none has left again; forgets those that have.
    fn are_here(&self, guests: &mut Guests) -> bool {
        let later = &mut guests.come[self.later()];
        if later.iter().all(Option::is_some) {
            let left = |guest: &mut Guest| !is_open(&guest.link);
            later.iter_mut().for_each(|guest| drop(guest.take_if(left)));
        }
        later.iter().all(Option::is_some)
    }

    /// Lets a rank in that belongs here, and is not here yet.
    fn admit(&self, guests: &mut Guests, mut link: TcpStream, hello: Hello) {
        let Hello { run, size, rank, port } = hello;
        let (answer, refused) = if run != self.run() {
            (Answer::OtherRun, Some("a rank of another run"))
        } else if size != self.size || !self.later().contains(&rank) {
            (Answer::OtherSize, Some("a rank that counts another number of ranks"))
        } else if guests.come[rank].as_ref().is_some_and(|guest| is_open(&guest.link)) {
            (Answer::Taken, Some("a second process that is the same rank"))
        } else {
            (Answer::Welcome, None)
        };
        if let Some(who) = refused.filter(|who| guests.refused != Some(who)) {
            self.tell(&format!("{who} came and was refused"));
            guests.refused = Some(who);
        }
        let Ok(from) = link.peer_addr() else { return };
        if answer.say(&mut link).is_ok() && answer == Answer::Welcome {
            let place = place(from.ip().to_canonical(), port);
            guests.come[rank] = Some(Guest { link, place });
        }
    }

    /// A connection to rank 0, which has let this one in, and where this one listens.
    fn reach_first(&self) -> Result<(TcpStream, TcpListener), MeetingError> {
        let mut why = "it has no address".to_owned();
        let mut refused = None;
        let told = Instant::now() + TO_ANSWER;
        let mut quiet = true;
        while !self.is_over() {
            if quiet && Instant::now() > told {
                quiet = false;
                let (address, ports) = (&self.master.address, self.ports());
                self.tell(&format!(
                    "rank 0 does not answer yet at ports {ports} of {address} ({why})"
                ));
            }
            let addresses = (self.master.address.as_str(), 0).to_socket_addrs();
            let addresses: Vec<_> = match addresses {
                Ok(addresses) => addresses.collect(),
                Err(error) => {
                    why = error.to_string();
                    Vec::new()
                }
            };
            let mut silent = None;
            let places = self.ports().all().flat_map(|port| {
                addresses.iter().map(move |address| {
                    let mut place = *address;
                    place.set_port(port);
                    place
                })
            });
            for place in places.take_while(|_| !self.is_over()) {
                match self.knock_at_first(place) {
                    Ok(Ok(found)) => return Ok(found),
                    // Ranks of one run, told differently: waiting changes nothing.
                    Ok(Err(Answer::OtherSize)) => {
                        return Err(MeetingError::OtherSize { place, size: self.size });
                    }
                    Ok(Err(answer)) => refused = Some(self.in_words(answer)),
                    Err(error) => silent = silent.or(Some(error.to_string())),
                }
            }
            // What a rank says is more than that nobody is there.
            why = refused.clone().or(silent).unwrap_or(why);
            std::thread::sleep(PAUSE);
        }
        let (address, ports) = (self.master.address.clone(), self.ports());
        let waited = self.waiting.patience;
        Err(self.over(MeetingError::NoAnswer { address, ports, waited, why }))
    }

    fn in_words(&self, answer: Answer) -> String {
        match answer {
            Answer::Taken => format!("another process is rank {} there", self.rank),
            Answer::OtherSize => format!("the rank there does not count {} ranks", self.size),
            Answer::OtherRun | Answer::Welcome => "the rank there is of another run".to_owned(),
        }
    }

    /// Asks whether rank 0 is there; its answer, where it does not let this one in.
    fn knock_at_first(
        &self,
        place: SocketAddr,
    ) -> io::Result<Result<(TcpStream, TcpListener), Answer>> {
        let until = self.within(TO_CONNECT);
        let link = TcpStream::connect_timeout(&place, socket::left(until))?;
        // Ranks on this machine alone need not be heard by others.
        let listener = match is_near(&self.master.address) {
            true => TcpListener::bind((link.peer_addr()?.ip(), 0))?,
            false => anywhere(0)?,
        };
        let listener = socket::polled(listener)?;
        let (link, answer) = self.knock(link, listener.local_addr()?.port())?;
        Ok(if answer == Answer::Welcome { Ok((link, listener)) } else { Err(answer) })
    }

    /// A connection to a rank that knows of this one; it may be busy with others.
    fn visit(&self, rank: usize, place: SocketAddr) -> Result<TcpStream, MeetingError> {
        loop {
            let link = TcpStream::connect_timeout(&place, socket::left(self.within(TO_ANSWER)));
            let why = match link.and_then(|link| self.knock(link, 0)) {
                Ok((link, Answer::Welcome)) => return Ok(link),
                Ok((_, answer)) => self.in_words(answer),
                Err(error) => error.to_string(),
            };
            if self.is_over() {
                return Err(self.over(MeetingError::Unreachable { rank, place, why }));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Says who this is and where it listens, and hears the answer.
    fn knock(&self, mut link: TcpStream, port: u16) -> io::Result<(TcpStream, Answer)> {
        let hello = Hello { run: self.run(), size: self.size, rank: self.rank, port };
        link.set_write_timeout(Some(TO_ANSWER))?;
        hello.say(&mut link)?;
        let answer = Answer::hear(&mut link, self.within(TO_ANSWER))?;
        Ok((link, answer))
    }

    /// The next rank that comes and says so; `None` if nobody does for a moment.
    fn next_comer(&self, listener: &TcpListener) -> Option<(TcpStream, Hello)> {
        match listener.accept() {
            Ok((link, _)) => hello_from(link, self.within(TO_SPEAK)),
            // Nobody, or a connection that was given up, or too many files at the moment.
            Err(_) => {
                std::thread::sleep(PAUSE);
                None
            }
        }
    }

    /// Where rank 0 listens: at the first port that is free.
    fn listen(&self) -> Result<TcpListener, MeetingError> {
        let Master { address, .. } = self.master;
        let mut why = None;
        for port in self.ports().all() {
            let listener = match is_near(address) {
                true => TcpListener::bind((address.as_str(), port)),
                // Whatever the others call this machine.
                false => anywhere(port),
            };
            match listener.and_then(socket::polled) {
                Ok(listener) => return Ok(listener),
                Err(error) => why = why.or(Some(error)),
            }
        }
        let why = why.map_or_else(String::new, |error| error.to_string());
        Err(MeetingError::NotHeard { address: address.clone(), ports: self.ports(), why })
    }
}

/// Connections as they are used from now on.
fn settled(links: Vec<Option<TcpStream>>) -> Result<Vec<Option<TcpStream>>, MeetingError> {
    for (rank, link) in links.iter().enumerate() {
        let settled = link.as_ref().map_or(Ok(()), socket::settle);
        settled.map_err(|_| MeetingError::Lost { rank })?;
    }
    Ok(links)
}

/// Who has come, if it says so in time.
fn hello_from(mut link: TcpStream, until: Instant) -> Option<(TcpStream, Hello)> {
    link.set_nonblocking(false).ok()?;
    link.set_write_timeout(Some(TO_ANSWER)).ok()?;
    let hello = Hello::hear(&mut link, until).ok()?;
    Some((link, hello))
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    /// A connection of a rank that rank 0 has let in, and that does nothing more.
    pub(in super::super) fn admitted(rank: usize, size: usize, master: &Master) -> TcpStream {
        let (patience, stop) = (Duration::from_secs(60), AtomicBool::new(false));
        let waiting = Waiting { patience, stop: &stop, tell: &|_| {} };
        let end = Instant::now() + patience;
        Meeting { rank, size, master, waiting, end }.reach_first().unwrap().0
    }
}
