//! What an observer of a client's link sees: a relay between the client and its gateway, outside
//! both, that writes down each TLS record.
//!
//! Two plain threads for each direction of each connection, so that a row's time is the moment at
//! which the record's bytes were read. They are urgent where the system allows it ([`runtime::urgency`]): else what they wait
//! for a core beside threads that compute would be in every time, and look like the daemons'. Handshake records are
//! left out: a direction's rows begin with its first record of a frame's length, because frames are the only records
//! of that length.

use anyhow::{Context, Result};
use runtime::urgency;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{LazyLock, mpsc};
use std::time::Instant;
use wire::geometry::{FRAME_LEN, TLS_OVERHEAD_LEN};

/// Length of a frame's TLS record, its five header bytes included.
pub const RECORD_LEN: usize = FRAME_LEN + TLS_OVERHEAD_LEN;
/// TLS content type of application data (RFC 8446 §5.1).
const APPLICATION_DATA: u8 = 23;

/// The origin of every `time_ns` of this process.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Nanoseconds since the origin of this process' captures.
pub fn time_ns() -> u128 {
    ORIGIN.elapsed().as_nanos()
}

/// Rows that wait for the disk: more than a minute of them. When full, the relay waits.
const ROWS_MAX: usize = 1 << 16;

/// Time, direction, length.
type Row = (u128, &'static str, usize);

/// Listens on a free port and relays every connection to `gateway`; rows go to `csv`. Ends with the
/// process.
pub fn relay(gateway: SocketAddr, csv: &Path) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("a port for the relay")?;
    let address = listener.local_addr()?;
    let mut file = BufWriter::new(
        File::create(csv).with_context(|| format!("cannot write {}", csv.display()))?,
    );
    writeln!(file, "time_ns,direction,bytes")?;
    file.flush()?;
    time_ns();
    let (rows, written) = mpsc::sync_channel(ROWS_MAX);
    // Apart from the relay, which shall not wait for a disk.
    std::thread::spawn(move || write(file, &written));
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(upstream) = TcpStream::connect(gateway) else {
                continue;
            };
            let _ = (client.set_nodelay(true), upstream.set_nodelay(true));
            let (Ok(client2), Ok(upstream2)) = (client.try_clone(), upstream.try_clone()) else {
                continue;
            };
            let (up, down) = (rows.clone(), rows.clone());
            std::thread::spawn(move || copy(client, upstream, "up", &up));
            std::thread::spawn(move || copy(upstream2, client2, "down", &down));
        }
    });
    Ok(address)
}

fn write(mut file: BufWriter<File>, rows: &mpsc::Receiver<Row>) {
    while let Ok(first) = rows.recv() {
        let mut all = std::iter::once(first).chain(rows.try_iter());
        let written = all
            .try_for_each(|(time, direction, len)| writeln!(file, "{time},{direction},{len}"))
            .and_then(|()| file.flush());
        if let Err(error) = written {
            // What is missing would look like silence on the link.
            say!("a capture ends here: it cannot be written: {error}");
            return;
        }
    }
}

fn copy(
    mut from: TcpStream,
    mut to: TcpStream,
    direction: &'static str,
    rows: &mpsc::SyncSender<Row>,
) {
    urgency::run_very_first();
    let mut records = Records::default();
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(n) = from.read(&mut buffer) {
        let time = time_ns();
        let bytes = &buffer[..n];
        if n == 0 || to.write_all(bytes).is_err() {
            break;
        }
        for len in records.feed(bytes) {
            let _ = rows.send((time, direction, len));
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// Cuts a byte stream into TLS records and gives the lengths of those that count.
#[derive(Default)]
struct Records {
    header: Vec<u8>,
    body_left: usize,
    frames_began: bool,
}

impl Records {
    fn feed(&mut self, mut bytes: &[u8]) -> Vec<usize> {
        let mut counted = Vec::new();
        while !bytes.is_empty() {
            if self.body_left > 0 {
                let n = self.body_left.min(bytes.len());
                self.body_left -= n;
                bytes = &bytes[n..];
                continue;
            }
            let n = (5 - self.header.len()).min(bytes.len());
            self.header.extend_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            if let [kind, _, _, high, low] = self.header[..] {
                self.body_left = usize::from(u16::from_be_bytes([high, low]));
                let len = 5 + self.body_left;
                self.frames_began |= kind == APPLICATION_DATA && len == RECORD_LEN;
                if self.frames_began && kind == APPLICATION_DATA {
                    counted.push(len);
                }
                self.header.clear();
            }
        }
        counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, len: usize) -> Vec<u8> {
        let body = u16::try_from(len - 5).unwrap().to_be_bytes();
        [vec![kind, 3, 3, body[0], body[1]], vec![0; len - 5]].concat()
    }

    #[test]
    fn rows_begin_with_the_first_frame_and_miss_none_after_it() {
        let stream = [
            record(22, 100),
            record(23, 64),
            record(23, RECORD_LEN),
            record(23, RECORD_LEN),
            record(23, 77),
            record(20, 6),
            record(23, RECORD_LEN),
        ]
        .concat();
        let expected = [RECORD_LEN, RECORD_LEN, 77, RECORD_LEN];
        assert_eq!(Records::default().feed(&stream), expected);
        let mut byte_by_byte = Records::default();
        let lens: Vec<_> = stream
            .iter()
            .flat_map(|b| byte_by_byte.feed(&[*b]))
            .collect();
        assert_eq!(lens, expected);
    }
}
