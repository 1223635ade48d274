//! Reading from a socket, with the moment at which the system took the bytes from the wire.
//!
//! A packet's time counts from its arrival, and a thread that has to wait for a core reads it later than that: by
//! milliseconds, on a busy or a virtual machine. The system writes down when bytes came (`SO_TIMESTAMPNS`, `socket(7)`),
//! so the wait disappears in δ instead of being added to it. Where one read takes bytes of several arrivals, the
//! last one counts: a packet may be taken for younger than it is, never for older.
//!
//! Elsewhere than on Linux it is the moment of reading.

use std::io;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// What lay in the socket for longer counts from when it is read. It lay there because this node is overloaded or holds
/// its peer back, and not because a thread waited for a core; or the wall clock, in which the system tells the moment,
/// was set meanwhile.
#[cfg_attr(
    not(target_os = "linux"),
    expect(dead_code, reason = "no age is known")
)]
const AGE_MAX: Duration = Duration::from_millis(10);
/// Room for one control message with a time, and for some that nobody asked for.
#[cfg(target_os = "linux")]
const CONTROL_LEN: usize = 128;

/// Asks the system to write the moments down; what it does not, counts from the reading.
pub(super) fn stamp(tcp: &TcpStream) {
    #[cfg(target_os = "linux")]
    {
        let asked =
            nix::sys::socket::setsockopt(tcp, nix::sys::socket::sockopt::ReceiveTimestampns, &true);
        if let Err(error) = asked {
            tracing::debug!(%error, "the system does not say when bytes come");
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = tcp;
}

/// Takes what is there, as `read(2)`: how much, and when the last of it came.
#[cfg(target_os = "linux")]
pub(super) fn read(tcp: &TcpStream, into: &mut [u8]) -> io::Result<(usize, Instant)> {
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
    use rustix::time::{ClockId, clock_gettime};
    use std::os::fd::AsRawFd as _;

    let mut control = [0; CONTROL_LEN];
    let mut pieces = [io::IoSliceMut::new(into)];
    let message = recvmsg::<()>(
        tcp.as_raw_fd(),
        &mut pieces,
        Some(&mut control),
        MsgFlags::empty(),
    )?;
    // In this order: the age is not too long, and so no packet is taken for older than it is.
    let (wall, now) = (clock_gettime(ClockId::Realtime), Instant::now());
    let stamp = message.cmsgs()?.find_map(|control| {
        let ControlMessageOwned::ScmTimestampns(at) = control else {
            return None;
        };
        Some((at.tv_sec(), at.tv_nsec()))
    });
    let age = stamp.map_or(0, |(secs, nanos)| {
        (i128::from(wall.tv_sec) - i128::from(secs)) * 1_000_000_000 + i128::from(wall.tv_nsec)
            - i128::from(nanos)
    });
    Ok((message.bytes, came(now, age)))
}

/// The moment that was `age` nanoseconds before `now`, if that can be.
#[cfg(target_os = "linux")]
fn came(now: Instant, age: i128) -> Instant {
    let age = u64::try_from(age).map(Duration::from_nanos);
    let likely = age.ok().filter(|age| *age <= AGE_MAX);
    likely.and_then(|age| now.checked_sub(age)).unwrap_or(now)
}

/// Takes what is there, as `read(2)`: how much, and when that was.
#[cfg(not(target_os = "linux"))]
pub(super) fn read(tcp: &TcpStream, into: &mut [u8]) -> io::Result<(usize, Instant)> {
    let len = tcp.try_read(into)?;
    Ok((len, Instant::now()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    #[cfg(target_os = "linux")]
    #[test]
    fn an_age_that_cannot_be_is_none() {
        let now = Instant::now();
        let ms = 1_000_000;
        assert_eq!(came(now, 3 * ms), now - Duration::from_millis(3));
        assert_eq!(came(now, 10 * ms), now - Duration::from_millis(10));
        for age in [0, -1, i128::MIN, 10 * ms + 1, 3_600_000 * ms, i128::MAX] {
            assert_eq!(came(now, age), now, "{age}");
        }
    }

    #[tokio::test]
    async fn bytes_count_from_when_they_came_and_not_from_when_they_are_read() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut writer = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (reader, _) = listener.accept().await.unwrap();
        stamp(&reader);
        let mut buffer = [0; 64];
        let wait = Duration::from_millis(3);
        let mut by_the_system = false;
        // The system begins a moment after it was asked, and a slow machine may sleep for too long.
        for _ in 0..200 {
            let before = Instant::now();
            writer.write_all(b"some bytes").await.unwrap();
            let written = Instant::now();
            reader.readable().await.unwrap();
            std::thread::sleep(wait);
            let (len, came) = read(&reader, &mut buffer).unwrap();
            assert_eq!(&buffer[..len], b"some bytes");
            assert!(came >= before, "older than it is");
            by_the_system = came <= written;
            if by_the_system || cfg!(not(target_os = "linux")) {
                break;
            }
        }
        assert!(by_the_system || cfg!(not(target_os = "linux")));
        let nothing = reader.try_io(tokio::io::Interest::READABLE, || read(&reader, &mut buffer));
        assert_eq!(nothing.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
