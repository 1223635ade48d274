//! Frames through TLS: one frame is one record, in both directions.
//!
//! The two halves share the TLS state behind a mutex that is held while bytes are sealed or
//! opened, never across a wait. `docs/spec/link.md` §2.

use super::{LinkError, WRITE_TIMEOUT};
use rustls::Connection;
use std::io::{BufRead, ErrorKind, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use wire::frame::{Frame, FrameBytes, Hello};
use wire::geometry::{FRAME_LEN, TLS_OVERHEAD_LEN};

/// Sealed bytes taken from the socket at once: nearly three frames.
const READ_LEN: usize = 8 * 1024;

/// What the peer says, frame by frame.
pub struct FrameReader {
    shared: Arc<Mutex<Connection>>,
    tcp: OwnedReadHalf,
    /// Sealed bytes from the socket: `sealed[start..end]` are not yet opened.
    sealed: Box<[u8; READ_LEN]>,
    start: usize,
    end: usize,
}

/// What we say, batch by batch.
pub struct FrameWriter {
    shared: Arc<Mutex<Connection>>,
    tcp: OwnedWriteHalf,
    sealed: Vec<u8>,
    broken: bool,
    timeout: Duration,
}

/// The two halves of a link whose TLS handshake is done.
pub(super) fn open(tcp: TcpStream, mut connection: Connection) -> (FrameReader, FrameWriter) {
    // `send` takes all sealed bytes out before it lets go, so nothing gathers here.
    connection.set_buffer_limit(None);
    let (read_half, write_half) = tcp.into_split();
    let shared = Arc::new(Mutex::new(connection));
    let reader = FrameReader {
        shared: shared.clone(),
        tcp: read_half,
        sealed: Box::new([0; READ_LEN]),
        start: 0,
        end: 0,
    };
    let writer = FrameWriter {
        shared,
        tcp: write_half,
        sealed: Vec::new(),
        broken: false,
        timeout: WRITE_TIMEOUT,
    };
    (reader, writer)
}

impl FrameReader {
    /// The next frame. After an error the link is of no more use. Cancel safe.
    ///
    /// There is no limit on silence here; a caller whose peer must not fall silent sets one.
    pub async fn next(&mut self) -> Result<Frame, LinkError> {
        match self.read_any().await? {
            Frame::Hello(_) => Err(LinkError::Order),
            frame @ (Frame::Packet(..) | Frame::Dummy | Frame::DirectoryPart(_)) => Ok(frame),
        }
    }

    /// The first frame.
    pub(super) async fn read_hello(&mut self) -> Result<Hello, LinkError> {
        match self.read_any().await? {
            Frame::Hello(hello) => Ok(hello),
            Frame::Packet(..) | Frame::Dummy | Frame::DirectoryPart(_) => Err(LinkError::Order),
        }
    }

    async fn read_any(&mut self) -> Result<Frame, LinkError> {
        loop {
            if let Some(frame) = self.open_next()? {
                return Ok(frame);
            }
            self.start = 0;
            self.end = 0;
            self.end = self.tcp.read(&mut self.sealed[..]).await?;
            if self.end == 0 {
                return Err(LinkError::Closed);
            }
        }
    }

    /// A frame out of what was read, or `None` when more bytes are needed.
    fn open_next(&mut self) -> Result<Option<Frame>, LinkError> {
        let mut connection = lock(&self.shared);
        loop {
            let mut plaintext = connection.reader();
            match plaintext.fill_buf() {
                Ok([]) => return Err(LinkError::Closed),
                Ok(record) => {
                    // rustls keeps each record's plaintext as a piece of its own.
                    let len = record.len();
                    let bytes: &[u8; FRAME_LEN] = record
                        .try_into()
                        .map_err(|_| LinkError::RecordLength(len))?;
                    let frame = Frame::decode(bytes).map_err(LinkError::Frame)?;
                    plaintext.consume(FRAME_LEN);
                    return Ok(Some(frame));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    return Err(LinkError::Closed);
                }
                Err(error) => return Err(error.into()),
            }
            let mut rest = &self.sealed[self.start..self.end];
            if rest.is_empty() {
                return Ok(None);
            }
            let taken = connection.read_tls(&mut rest)?;
            if taken == 0 {
                return Err(LinkError::Closed);
            }
            self.start += taken;
            connection.process_new_packets()?;
        }
    }
}

impl FrameWriter {
    /// Sends each frame in a record of its own and all of them in one write.
    ///
    /// Not cancel safe: when it is dropped half-way, the link is [`LinkError::Broken`].
    pub async fn send(&mut self, frames: &[FrameBytes]) -> Result<(), LinkError> {
        if self.broken {
            return Err(LinkError::Broken);
        }
        self.broken = true;
        self.seal(frames)?;
        match tokio::time::timeout(self.timeout, self.tcp.write_all(&self.sealed)).await {
            Ok(result) => result?,
            Err(_elapsed) => return Err(LinkError::Stalled),
        }
        self.broken = false;
        Ok(())
    }

    /// Another limit than [`WRITE_TIMEOUT`].
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Tells the peer that nothing more comes, and waits until the system took that.
    pub async fn close(mut self) -> Result<(), LinkError> {
        if self.broken {
            return Err(LinkError::Broken);
        }
        lock(&self.shared).send_close_notify();
        self.send(&[]).await?;
        Ok(self.tcp.shutdown().await?)
    }

    fn seal(&mut self, frames: &[FrameBytes]) -> Result<(), LinkError> {
        self.sealed.clear();
        self.sealed
            .reserve(frames.len() * (FRAME_LEN + TLS_OVERHEAD_LEN));
        let mut connection = lock(&self.shared);
        for frame in frames {
            // One write of less than 16 KiB is one record.
            connection.writer().write_all(&frame[..])?;
        }
        while connection.wants_write() {
            connection.write_tls(&mut self.sealed)?;
        }
        Ok(())
    }
}

/// A panic of the other half is this half's end too, not its concern: the state is only bytes.
fn lock(shared: &Mutex<Connection>) -> std::sync::MutexGuard<'_, Connection> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
