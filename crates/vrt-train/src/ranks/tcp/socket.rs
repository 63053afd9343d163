//! Sockets as ranks need them.

use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};

/// After so much time without a sign of life, a machine is gone.
const LIFE: Duration = Duration::from_secs(300);
/// Connections that may wait to be accepted.
const WAITING: i32 = 1024;
/// The least that sockets are given: no time at all means for ever to them.
const LEAST: Duration = Duration::from_millis(20);

/// The time that is left until then.
pub(super) fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now()).max(LEAST)
}

/// A connection as it is used once ranks have met: no packet waits for another, reading takes as
/// long as it takes, and a machine that has vanished is noticed, whether something was sent to it or
/// not.
pub(super) fn settle(link: &TcpStream) -> io::Result<()> {
    link.set_nonblocking(false)?;
    link.set_read_timeout(None)?;
    link.set_write_timeout(None)?;
    link.set_nodelay(true)?;
    let alive = TcpKeepalive::new().with_time(LIFE / 5).with_interval(LIFE / 20);
    let link = SockRef::from(link);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    link.set_tcp_user_timeout(Some(LIFE))?;
    link.set_tcp_keepalive(&alive)
}

/// Whether the other end of a connection is still there, as far as it has nothing to say.
pub(super) fn is_open(link: &TcpStream) -> bool {
    match waiting(link) {
        Ok(bytes) => bytes > 0,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

/// Whether something has come that can be read.
pub(super) fn has_spoken(link: &TcpStream) -> bool {
    waiting(link).is_ok_and(|bytes| bytes > 0)
}

/// Whether there is a byte; none where the connection is closed, an error where one has to wait.
fn waiting(link: &TcpStream) -> io::Result<usize> {
    link.set_nonblocking(true)?;
    let seen = link.peek(&mut [0]);
    link.set_nonblocking(false)?;
    seen
}

/// Fills `bytes` with what comes before `until`, however slowly it comes.
pub(super) fn read_before(
    link: &mut TcpStream,
    mut bytes: &mut [u8],
    until: Instant,
) -> io::Result<()> {
    while !bytes.is_empty() {
        if Instant::now() >= until {
            return Err(ErrorKind::TimedOut.into());
        }
        link.set_read_timeout(Some(left(until)))?;
        match link.read(bytes) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => bytes = &mut bytes[read..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether a name is this machine's for itself, whatever the machine.
pub(super) fn is_near(address: &str) -> bool {
    address == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Listens on all networks of this machine, for both versions of IP where it has them.
pub(super) fn anywhere(port: u16) -> io::Result<TcpListener> {
    let both = || {
        let socket = Socket::new(Domain::IPV6, Type::STREAM, None)?;
        socket.set_only_v6(false)?;
        bound(socket, (Ipv6Addr::UNSPECIFIED, port).into())
    };
    both().or_else(|error| match error.kind() {
        ErrorKind::AddrInUse => Err(error),
        // A machine without IPv6.
        _ => {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            bound(socket, (Ipv4Addr::UNSPECIFIED, port).into())
        }
    })
}

fn bound(socket: Socket, address: SocketAddr) -> io::Result<TcpListener> {
    // A port that the last run has used is free again at once.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(WAITING)?;
    Ok(socket.into())
}

/// A listener that is asked whether somebody has come.
pub(super) fn polled(listener: TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    Ok(listener)
}
