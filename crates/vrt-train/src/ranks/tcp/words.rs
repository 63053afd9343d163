//! What ranks say to each other until they have met.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Instant;

use super::socket::read_before;

/// What every rank begins with, in the order of bytes of its machine: others do not understand each
/// other's numbers.
const MAGIC: u64 = u64::from_be_bytes(*b"vrtrank1");

/// What a rank answers who knocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Welcome,
    OtherRun,
    OtherSize,
    Taken,
}

impl Answer {
    const ALL: [Self; 4] = [Self::Welcome, Self::OtherRun, Self::OtherSize, Self::Taken];

    fn number(self) -> u64 {
        Self::ALL.iter().position(|answer| *answer == self).unwrap_or_default() as u64
    }

    pub(super) fn say(self, link: &mut TcpStream) -> io::Result<()> {
        link.write_all(bytemuck::bytes_of(&[MAGIC, self.number()]))
    }

    pub(super) fn hear(link: &mut TcpStream, until: Instant) -> io::Result<Self> {
        let mut words = [0; 2];
        read_before(link, bytemuck::bytes_of_mut(&mut words), until)?;
        let [magic, number] = words;
        let known = usize::try_from(number).ok().and_then(|number| Self::ALL.get(number));
        known.copied().filter(|_| magic == MAGIC).ok_or_else(other_program)
    }
}

fn other_program() -> io::Error {
    io::Error::other("another program is there")
}

/// What a rank says of itself when it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) run: u64,
    pub(super) size: usize,
    pub(super) rank: usize,
    /// Where it listens, if who is knocked at does not know yet.
    pub(super) port: u16,
}

impl Hello {
    pub(super) fn say(self, link: &mut TcpStream) -> io::Result<()> {
        link.write_all(bytemuck::bytes_of(&self.words()))
    }

    pub(super) fn hear(link: &mut TcpStream, until: Instant) -> io::Result<Self> {
        let mut words = [0; 5];
        read_before(link, bytemuck::bytes_of_mut(&mut words), until)?;
        Self::of_words(words).ok_or_else(other_program)
    }

    fn words(self) -> [u64; 5] {
        [MAGIC, self.run, self.size as u64, self.rank as u64, self.port.into()]
    }

    /// What was said in these words, if a rank of this version has said it.
    fn of_words([magic, run, size, rank, port]: [u64; 5]) -> Option<Self> {
        let (size, rank) = (usize::try_from(size).ok()?, usize::try_from(rank).ok()?);
        let port = u16::try_from(port).ok()?;
        (magic == MAGIC).then_some(Self { run, size, rank, port })
    }
}

/// Where a rank listens, in numbers: an address in two halves and a port. The address is [`NEAR`]
/// for one on the machine of rank 0.
pub(super) type Place = [u64; 3];

/// Stands for the address at which one has reached rank 0.
const NEAR: u128 = 0;

/// Where a rank listens, seen from rank 0.
pub(super) fn place(ip: IpAddr, port: u16) -> Place {
    let number = match ip {
        ip if ip.is_loopback() => NEAR,
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    };
    [(number >> 64) as u64, number as u64, port.into()]
}

/// Where to find a rank, for one that has reached rank 0 at `near`.
pub(super) fn address([high, low, port]: Place, mut near: SocketAddr) -> SocketAddr {
    let number = u128::from(high) << 64 | u128::from(low);
    if number != NEAR {
        return SocketAddr::new(Ipv6Addr::from_bits(number).to_canonical(), port as u16);
    }
    near.set_port(port as u16);
    near
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_said_is_understood(run: u64, size: usize, rank: usize, port: u16) {
            let hello = Hello { run, size, rank, port };
            prop_assert_eq!(Hello::of_words(hello.words()), Some(hello));
        }

        #[test]
        fn other_words_are_not(words: [u64; 5]) {
            prop_assert_eq!(Hello::of_words(words), None);
            let own = [MAGIC, words[1], words[2], words[3], words[4]];
            prop_assert_eq!(Hello::of_words(own).is_some(), words[4] <= u16::MAX.into());
        }

        #[test]
        fn a_place_is_found_again(ip: IpAddr, port: u16, near: SocketAddr) {
            let ip = ip.to_canonical();
            let found = address(place(ip, port), near);
            let is_near = ip.is_loopback() || ip == Ipv6Addr::UNSPECIFIED;
            let expected = if is_near { near.ip() } else { ip };
            prop_assert_eq!((found.ip(), found.port()), (expected, port));
        }
    }

    #[test]
    fn a_rank_beside_rank_0_is_where_rank_0_is() {
        let near = SocketAddr::from((Ipv4Addr::new(10, 0, 0, 7), 29500));
        let found = address(place(Ipv4Addr::new(127, 0, 1, 1).into(), 40000), near);
        assert_eq!(found, SocketAddr::from((Ipv4Addr::new(10, 0, 0, 7), 40000)));
    }

    #[test]
    fn answers_have_numbers_of_their_own() {
        let numbers: Vec<_> = Answer::ALL.iter().map(|answer| answer.number()).collect();
        assert_eq!(numbers, [0, 1, 2, 3]);
    }
}
