//! How processes that know a machine and a port find each other: the first rank listens there, the
//! others come, and hear from it where each of them listens for those behind it.
//!
//! Anybody can knock at a port: who does not say the right words within a second is sent away, and
//! nothing that a stranger says decides how much memory is taken.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use socket2::{SockRef, TcpKeepalive};

use super::super::launch::Master;

/// Ranks that can meet: each keeps a connection to every other, and 1024 files are what systems
/// allow a process.
const MOST: usize = 1000;
/// Ports behind the one of the launcher that rank 0 may listen at.
const MORE_PORTS: u16 = 16;
/// How long somebody who knocks may take to say who it is.
const TO_SPEAK: Duration = Duration::from_secs(1);
/// How long a connection may take.
const TO_CONNECT: Duration = Duration::from_secs(1);
/// How long rank 0 may take to answer: it hears one after the other.
const TO_ANSWER: Duration = Duration::from_secs(5);
/// Between two looks at a port.
const PAUSE: Duration = Duration::from_millis(20);

/// What every rank begins with, in the order of bytes of its machine: others do not understand each
/// other's numbers.
const MAGIC: u64 = u64::from_be_bytes(*b"vrtrank1");
const WELCOME: u64 = 1;
const OTHER_RUN: u64 = 2;
const TAKEN: u64 = 3;

/// Why ranks did not find each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MeetingError {
    /// More ranks than can meet.
    #[error(
        "{size} ranks were started, and at most {MOST} can meet by TCP: start fewer, or start them \
         with mpirun (built with --features mpi)"
    )]
    TooMany {
        /// How many.
        size: usize,
    },
    /// Rank 0 cannot listen.
    #[error(
        "rank 0 cannot listen at ports {} to {} of {address} ({why}): set MASTER_ADDR to this \
         machine and MASTER_PORT to a free port of it",
        ports.start(), ports.end()
    )]
    NotHeard {
        /// The machine, as `MASTER_ADDR` names it.
        address: String,
        /// The ports that were tried.
        ports: RangeInclusive<u16>,
        /// What the system says.
        why: String,
    },
    /// Rank 0 has waited for others in vain.
    #[error(
        "{} did not come to port {port} of rank 0 within {} s: start all {size} ranks with the same \
         MASTER_ADDR and MASTER_PORT, on machines that reach each other",
        Listed(ranks), waited.as_secs()
    )]
    Missing {
        /// Those that did not come.
        ranks: Vec<usize>,
        /// How many there should be.
        size: usize,
        /// Where they were waited for.
        port: u16,
        /// How long.
        waited: Duration,
    },
    /// A rank has waited for rank 0 in vain.
    #[error(
        "rank 0 did not answer at ports {} to {} of {address} within {} s ({why}): start all ranks \
         with the same MASTER_ADDR and MASTER_PORT, on machines that reach each other",
        ports.start(), ports.end(), waited.as_secs()
    )]
    NoAnswer {
        /// The machine, as `MASTER_ADDR` names it.
        address: String,
        /// The ports that were tried.
        ports: RangeInclusive<u16>,
        /// How long.
        waited: Duration,
        /// What came of the last try.
        why: String,
    },
    /// A rank was there, and is not any more.
    #[error("rank {rank} was lost while ranks met: its own messages say why")]
    Lost {
        /// That rank.
        rank: usize,
    },
}

/// Ranks in a sentence.
struct Listed<'a>(&'a [usize]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [rank] => write!(f, "rank {rank}"),
            [first, last] => write!(f, "ranks {first} and {last}"),
            [first, second, more @ ..] => {
                write!(f, "ranks {first}, {second} and {} more", more.len())
            }
            [] => f.write_str("no rank"),
        }
    }
}

/// Connects a rank to all others: a connection for each, none for itself.
pub(super) fn meet(
    rank: usize,
    size: usize,
    master: &Master,
    patience: Duration,
) -> Result<Vec<Option<TcpStream>>, MeetingError> {
    if size > MOST {
        return Err(MeetingError::TooMany { size });
    }
    let meeting = Meeting { rank, size, master, patience, end: Instant::now() + patience };
    let links = if rank == 0 { meeting.receive_all()? } else { meeting.join()? };
    for (rank, link) in links.iter().enumerate() {
        let Some(link) = link else { continue };
        settle(link).map_err(|_| MeetingError::Lost { rank })?;
    }
    Ok(links)
}

/// A connection as it is used from now on: no packet waits for another, reading takes as long as it
/// takes, and a machine that has vanished is noticed in two and a half minutes.
fn settle(link: &TcpStream) -> io::Result<()> {
    link.set_read_timeout(None)?;
    link.set_write_timeout(None)?;
    link.set_nodelay(true)?;
    let alive = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15))
        .with_retries(6);
    SockRef::from(link).set_tcp_keepalive(&alive)
}

/// A rank, and what it knows of the others when it starts.
struct Meeting<'a> {
    rank: usize,
    size: usize,
    master: &'a Master,
    patience: Duration,
    end: Instant,
}

/// What a rank says of itself when it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hello {
    run: u64,
    rank: usize,
    /// Where it listens, if rank 0 does not know yet.
    port: u16,
}

impl Hello {
    fn words(self) -> [u64; 4] {
        [MAGIC, self.run, self.rank as u64, self.port.into()]
    }

    /// What was said in these words, if a rank of this version has said it.
    fn of_words([magic, run, rank, port]: [u64; 4]) -> Option<Self> {
        let (rank, port) = (usize::try_from(rank).ok()?, u16::try_from(port).ok()?);
        (magic == MAGIC).then_some(Self { run, rank, port })
    }
}

/// A rank that has come to rank 0.
struct Guest {
    link: TcpStream,
    /// Where it listens; the address is [`NEAR`] where it is on the machine of rank 0.
    place: Place,
}

/// An address and a port in numbers.
type Place = [u64; 3];

/// Where a rank is that reached rank 0 from its own machine: where rank 0 is.
const NEAR: u128 = 0;

impl Meeting<'_> {
    /// What ranks of one run have in common.
    fn run(&self) -> u64 {
        let Master { port, run, .. } = self.master;
        crc32c::crc32c(format!("{run} {port} {}", self.size).as_bytes()).into()
    }

    fn ports(&self) -> RangeInclusive<u16> {
        let Master { port, held, .. } = *self.master;
        port.saturating_add(held.into())..=port.saturating_add(MORE_PORTS)
    }

    /// The time that is left, at least a little: no time at all means for ever to sockets.
    fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now()).max(PAUSE)
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }

    /// Rank 0: waits for all others, and tells them where they are.
    fn receive_all(&self) -> Result<Vec<Option<TcpStream>>, MeetingError> {
        let listener = self.listen()?;
        let port = listener.local_addr().map_or(self.master.port, |address| address.port());
        let mut guests: Vec<Option<Guest>> = (0..self.size).map(|_| None).collect();
        while !are_here(&mut guests[1..]) {
            let Some((link, hello)) = self.next_comer(&listener) else {
                let ranks = (1..self.size).filter(|rank| guests[*rank].is_none()).collect();
                let (size, waited) = (self.size, self.patience);
                return Err(MeetingError::Missing { ranks, size, port, waited });
            };
            self.admit(&mut guests, link, hello);
        }
        let places: Vec<Place> =
            guests.iter().map(|guest| guest.as_ref().map_or([0; 3], |guest| guest.place)).collect();
        let mut links = vec![None];
        for (rank, guest) in guests.into_iter().enumerate().skip(1) {
            let told = guest.map(|guest| guest.link).and_then(|mut link| {
                link.write_all(bytemuck::cast_slice(&places)).ok().map(|()| link)
            });
            links.push(Some(told.ok_or(MeetingError::Lost { rank })?));
        }
        Ok(links)
    }

    /// Lets a rank in that belongs here, and is not here yet.
    fn admit(&self, guests: &mut [Option<Guest>], mut link: TcpStream, hello: Hello) {
        let Hello { run, rank, port } = hello;
        let answer = match guests.get(rank) {
            Some(guest) if run == self.run() && rank > 0 => match guest {
                // One that has left may come again.
                Some(guest) if is_open(&guest.link) => TAKEN,
                _ => WELCOME,
            },
            _ => OTHER_RUN,
        };
        let Ok(from) = link.peer_addr() else { return };
        if say(&mut link, answer).is_ok() && answer == WELCOME {
            let place = place(from.ip().to_canonical(), port);
            guests[rank] = Some(Guest { link, place });
        }
    }

    /// Any other rank: goes to rank 0, from there to all before it, and waits for those behind it.
    fn join(&self) -> Result<Vec<Option<TcpStream>>, MeetingError> {
        let (mut first, listener) = self.reach_first()?;
        let lost = |rank: usize| move |_: io::Error| MeetingError::Lost { rank };
        let mut places: Vec<Place> = vec![[0; 3]; self.size];
        // Rank 0 says itself how long it waits for the others.
        settle(&first).map_err(lost(0))?;
        first.read_exact(bytemuck::cast_slice_mut(&mut places)).map_err(lost(0))?;
        let near = first.peer_addr().map_err(lost(0))?.ip();
        let mut links = vec![Some(first)];
        for (rank, place) in places.iter().enumerate().take(self.rank).skip(1) {
            links.push(Some(self.visit(address(*place, near)).map_err(lost(rank))?));
        }
        links.resize_with(self.size, || None);
        self.receive_later(&listener, &mut links)?;
        for (rank, link) in links.iter_mut().enumerate().take(self.rank).skip(1) {
            if !matches!(link.as_mut().map(hear), Some(Ok(WELCOME))) {
                return Err(MeetingError::Lost { rank });
            }
        }
        Ok(links)
    }

    /// Waits for all ranks behind this one.
    fn receive_later(
        &self,
        listener: &TcpListener,
        links: &mut [Option<TcpStream>],
    ) -> Result<(), MeetingError> {
        while let Some(rank) = (self.rank + 1..self.size).find(|rank| links[*rank].is_none()) {
            let (mut link, hello) = self.next_comer(listener).ok_or(MeetingError::Lost { rank })?;
            let belongs = hello.run == self.run() && hello.rank > self.rank;
            let Some(free @ None) = links.get_mut(hello.rank).filter(|_| belongs) else { continue };
            if say(&mut link, WELCOME).is_ok() {
                *free = Some(link);
            }
        }
        Ok(())
    }

    /// A connection to rank 0, which has let this one in, and where this one listens.
    fn reach_first(&self) -> Result<(TcpStream, TcpListener), MeetingError> {
        loop {
            let mut why = None;
            let found = (self.master.address.as_str(), 0).to_socket_addrs();
            let addresses: Vec<_> = match found {
                Ok(addresses) => addresses.collect(),
                Err(error) => {
                    why = Some(error.to_string());
                    Vec::new()
                }
            };
            for port in self.ports() {
                for address in &addresses {
                    match self.knock(SocketAddr::new(address.ip(), port)) {
                        Ok(found) => return Ok(found),
                        // That of the first port is what was meant.
                        Err(error) => why = why.or(Some(error.to_string())),
                    }
                }
            }
            if self.is_over() {
                let (address, ports) = (self.master.address.clone(), self.ports());
                let why = why.unwrap_or_else(|| "it has no address".to_owned());
                return Err(MeetingError::NoAnswer { address, ports, waited: self.patience, why });
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Asks whether rank 0 is there.
    fn knock(&self, address: SocketAddr) -> io::Result<(TcpStream, TcpListener)> {
        let link = TcpStream::connect_timeout(&address, TO_CONNECT.min(self.left()))?;
        // Ranks on this machine alone need not be heard by others.
        let listener = match is_near(&self.master.address) {
            true => TcpListener::bind((link.local_addr()?.ip(), 0))?,
            false => anywhere(0)?,
        };
        let mut link = self.introduce(link, listener.local_addr()?.port())?;
        link.set_read_timeout(Some(TO_ANSWER))?;
        match hear(&mut link)? {
            WELCOME => Ok((link, listener)),
            TAKEN => Err(io::Error::other(format!("another process is rank {} there", self.rank))),
            _ => Err(io::Error::other("the rank 0 there is of another run")),
        }
    }

    /// A connection to a rank that knows of this one.
    fn visit(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let link = TcpStream::connect_timeout(&address, self.left())?;
        // It is known to all, and nobody comes to it on this way.
        let link = self.introduce(link, 0)?;
        link.set_read_timeout(Some(self.left()))?;
        Ok(link)
    }

    /// Says who this is, and where it listens.
    fn introduce(&self, mut link: TcpStream, port: u16) -> io::Result<TcpStream> {
        let hello = Hello { run: self.run(), rank: self.rank, port };
        link.set_write_timeout(Some(TO_ANSWER))?;
        link.write_all(bytemuck::bytes_of(&hello.words()))?;
        Ok(link)
    }

    /// The next rank that comes and says so; `None` when time is over.
    fn next_comer(&self, listener: &TcpListener) -> Option<(TcpStream, Hello)> {
        listener.set_nonblocking(true).ok()?;
        while !self.is_over() {
            match listener.accept() {
                Ok((link, _)) => {
                    if let Some(come) = hello_from(link) {
                        return Some(come);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
                // A connection that was given up, or too many files at the moment.
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
        None
    }

    /// Where rank 0 listens: at the first port that is free.
    fn listen(&self) -> Result<TcpListener, MeetingError> {
        let Master { address, .. } = self.master;
        let mut why = None;
        for port in self.ports() {
            let listener = match is_near(address) {
                true => TcpListener::bind((address.as_str(), port)),
                // Whatever the others call this machine.
                false => anywhere(port),
            };
            match listener {
                Ok(listener) => return Ok(listener),
                Err(error) => why = why.or(Some(error.to_string())),
            }
        }
        let (address, ports) = (address.clone(), self.ports());
        let why = why.unwrap_or_else(|| "there is no such port".to_owned());
        Err(MeetingError::NotHeard { address, ports, why })
    }
}

/// Whether a name is this machine's for itself, whatever the machine.
fn is_near(address: &str) -> bool {
    address == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Listens on all networks of this machine.
fn anywhere(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).or_else(|error| match error.kind() {
        ErrorKind::AddrInUse => Err(error),
        // A machine without IPv6.
        _ => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)),
    })
}

/// Who has come, if it says so in time.
fn hello_from(mut link: TcpStream) -> Option<(TcpStream, Hello)> {
    link.set_nonblocking(false).ok()?;
    link.set_read_timeout(Some(TO_SPEAK)).ok()?;
    link.set_write_timeout(Some(TO_ANSWER)).ok()?;
    let mut words = [0; 4];
    link.read_exact(bytemuck::bytes_of_mut(&mut words)).ok()?;
    Hello::of_words(words).map(|hello| (link, hello))
}

/// Whether all have come and none has left again; forgets those that have.
fn are_here(guests: &mut [Option<Guest>]) -> bool {
    let come = guests.iter().all(Option::is_some);
    if come {
        guests.iter_mut().for_each(|guest| drop(guest.take_if(|guest| !is_open(&guest.link))));
    }
    guests.iter().all(Option::is_some)
}

/// Whether the other end of a connection that has nothing more to say is still there.
fn is_open(link: &TcpStream) -> bool {
    let seen = link.set_nonblocking(true).and_then(|()| link.peek(&mut [0]));
    let waits = seen.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
    link.set_nonblocking(false).is_ok() && waits
}

fn say(link: &mut TcpStream, answer: u64) -> io::Result<()> {
    link.write_all(bytemuck::bytes_of(&[MAGIC, answer]))
}

fn hear(link: &mut TcpStream) -> io::Result<u64> {
    let mut words = [0; 2];
    link.read_exact(bytemuck::bytes_of_mut(&mut words))?;
    let [magic, answer] = words;
    if magic == MAGIC { Ok(answer) } else { Err(io::Error::other("another program answers")) }
}

/// Where a rank listens, seen from rank 0.
fn place(ip: IpAddr, port: u16) -> Place {
    let number = match ip {
        ip if ip.is_loopback() => NEAR,
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    };
    [(number >> 64) as u64, number as u64, port.into()]
}

/// Where to find a rank, for one that has reached rank 0 at `near`.
fn address([high, low, port]: Place, near: IpAddr) -> SocketAddr {
    let ip = match u128::from(high) << 64 | u128::from(low) {
        NEAR => near,
        number => IpAddr::V6(Ipv6Addr::from_bits(number)).to_canonical(),
    };
    SocketAddr::new(ip, port as u16)
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A connection of a rank that rank 0 has let in, and that does nothing more.
    pub(in super::super) fn admitted(rank: usize, size: usize, master: &Master) -> TcpStream {
        let patience = Duration::from_secs(60);
        let end = Instant::now() + patience;
        let meeting = Meeting { rank, size, master, patience, end };
        meeting.reach_first().unwrap().0
    }

    proptest! {
        #[test]
        fn what_is_said_is_understood(run: u64, rank: usize, port: u16) {
            let hello = Hello { run, rank, port };
            prop_assert_eq!(Hello::of_words(hello.words()), Some(hello));
        }

        #[test]
        fn other_words_are_not(words: [u64; 4]) {
            let [_, _, _, port] = words;
            prop_assert_eq!(Hello::of_words(words), None);
            let own = [MAGIC, words[1], words[2], port];
            prop_assert_eq!(Hello::of_words(own).is_some(), port <= u16::MAX.into());
        }

        #[test]
        fn a_place_is_found_again(ip: std::net::IpAddr, port: u16, near: std::net::IpAddr) {
            let ip = ip.to_canonical();
            let found = address(place(ip, port), near);
            let expected = if ip.is_loopback() || ip == Ipv6Addr::UNSPECIFIED { near } else { ip };
            prop_assert_eq!(found, SocketAddr::new(expected, port));
        }
    }
}
