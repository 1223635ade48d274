//! Frames through TLS: one frame is one record, in both directions; many of them in one read and in
//! one write.
//!
//! The two halves share the TLS state behind a mutex that is held while bytes are sealed or opened
//! (and given to a socket that takes them at once), never across a wait. A link that has nothing to
//! say holds no buffer of ours: sealed bytes are read into one that all links of a thread share.
//! `docs/spec/link.md` §2.

use super::{LinkError, WRITE_TIMEOUT, stamped};
use crate::buffers;
use crate::stages::TurnMeter;
use rustls::Connection;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, BufRead, ErrorKind, IoSlice, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use wire::frame::{Frame, FrameBytes, Hello};
use wire::geometry::FRAME_LEN;

/// Sealed bytes taken from a socket at once: some twenty frames.
const READ_LEN: usize = 64 * 1024;
/// Frames sealed before they are given to the socket: 180 KB.
const SEAL_MAX: usize = 64;

thread_local! {
    static SEALED: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_LEN].into());
}

/// What the peer says, frame by frame or as many as there are.
pub struct FrameReader {
    shared: Arc<Mutex<Connection>>,
    tcp: OwnedReadHalf,
    /// When the newest bytes came of those that were read.
    arrived: Instant,
    /// Read and not yet handed out; at most what one read gave.
    ready: VecDeque<Frame>,
    /// What ends the link once all that came before is handed out.
    ended: Option<LinkError>,
    meter: Option<TurnMeter>,
}

/// What we say, batch by batch.
pub struct FrameWriter {
    shared: Arc<Mutex<Connection>>,
    tcp: OwnedWriteHalf,
    broken: bool,
    timeout: Duration,
    meter: Option<TurnMeter>,
}

/// The two halves of a link whose TLS handshake is done.
pub(super) fn open(tcp: TcpStream, mut connection: Connection) -> (FrameReader, FrameWriter) {
    // Every send waits until the socket has taken everything, so little gathers here.
    connection.set_buffer_limit(None);
    stamped::stamp(&tcp);
    let (read_half, write_half) = tcp.into_split();
    let shared = Arc::new(Mutex::new(connection));
    let mut reader = FrameReader {
        shared: shared.clone(),
        tcp: read_half,
        arrived: Instant::now(),
        ready: VecDeque::new(),
        ended: None,
        meter: None,
    };
    // What came together with the end of the handshake.
    let mut ready = VecDeque::new();
    reader.ended = reader.open_all(&[], &mut |f| ready.push_back(f)).err();
    reader.ready = ready;
    let writer = FrameWriter {
        shared,
        tcp: write_half,
        broken: false,
        timeout: WRITE_TIMEOUT,
        meter: None,
    };
    (reader, writer)
}

/// The same two halves, woken by the runtime of this call from now on.
pub(super) fn take_over(
    reader: FrameReader,
    writer: FrameWriter,
) -> io::Result<(FrameReader, FrameWriter)> {
    let (reader_tcp, writer_tcp) = (reader.tcp, writer.tcp);
    let whole = reader_tcp.reunite(writer_tcp).map_err(io::Error::other)?;
    let (read_half, write_half) = TcpStream::from_std(whole.into_std()?)?.into_split();
    let reader = FrameReader {
        tcp: read_half,
        arrived: reader.arrived,
        shared: reader.shared,
        ready: reader.ready,
        ended: reader.ended,
        meter: reader.meter,
    };
    let writer = FrameWriter {
        tcp: write_half,
        shared: writer.shared,
        broken: writer.broken,
        timeout: writer.timeout,
        meter: writer.meter,
    };
    Ok((reader, writer))
}

impl FrameReader {
    /// The next frame. After an error the link is of no more use. Cancel safe.
    ///
    /// There is no limit on silence here; a caller whose peer must not fall silent sets one.
    pub async fn next(&mut self) -> Result<Frame, LinkError> {
        loop {
            match self.ready.pop_front() {
                Some(Frame::Hello(_)) => return Err(LinkError::Order),
                Some(frame) => return Ok(frame),
                None => {
                    let mut ready = std::mem::take(&mut self.ready);
                    self.fill(&mut |frame| ready.push_back(frame)).await?;
                    self.ready = ready;
                }
            }
        }
    }

    /// All frames that have come, at least one unless the link ended; they are appended. As
    /// [`FrameReader::next`] otherwise; a `Hello` is for the caller to refuse.
    pub async fn read_many(&mut self, frames: &mut Vec<Frame>) -> Result<(), LinkError> {
        let before = frames.len();
        frames.extend(self.ready.drain(..));
        while frames.len() == before {
            self.fill(&mut |frame| frames.push(frame)).await?;
        }
        Ok(())
    }

    /// When the newest of the frames came that were read last, by the system's word and not by that of this thread.
    pub fn arrived(&self) -> Instant {
        self.arrived
    }

    /// Counts what reading costs.
    pub fn measure(&mut self, meter: TurnMeter) {
        self.meter = Some(meter);
    }

    /// The first frame.
    pub(super) async fn read_hello(&mut self) -> Result<Hello, LinkError> {
        while self.ready.is_empty() {
            let mut ready = VecDeque::new();
            self.fill(&mut |frame| ready.push_back(frame)).await?;
            self.ready = ready;
        }
        match self.ready.pop_front() {
            Some(Frame::Hello(hello)) => Ok(hello),
            Some(Frame::Packet(..) | Frame::Dummy | Frame::DirectoryPart(_)) | None => {
                Err(LinkError::Order)
            }
        }
    }

    /// Waits for bytes and opens all of them; there may be no whole frame in them.
    async fn fill(&mut self, give: &mut (impl FnMut(Frame) + Send)) -> Result<(), LinkError> {
        if let Some(error) = self.ended.take() {
            self.ended = Some(LinkError::Closed);
            return Err(error);
        }
        poll_fn(|cx| SEALED.with_borrow_mut(|sealed| self.poll_fill(cx, sealed, give))).await
    }

    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        sealed: &mut [u8],
        give: &mut impl FnMut(Frame),
    ) -> Poll<Result<(), LinkError>> {
        let began = self.meter.as_ref().and_then(TurnMeter::begin);
        let len = ready!(self.poll_read(cx, sealed))?;
        if len == 0 {
            return Poll::Ready(Err(LinkError::Closed));
        }
        // What was whole before something went wrong is still handed out.
        self.ended = self.open_all(&sealed[..len], give).err();
        if let Some(meter) = &mut self.meter {
            meter.end(began);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let tcp: &TcpStream = self.tcp.as_ref();
        loop {
            ready!(tcp.poll_read_ready(cx))?;
            match tcp.try_io(Interest::READABLE, || stamped::read(tcp, into)) {
                Ok((len, arrived)) => {
                    self.arrived = arrived;
                    return Poll::Ready(Ok(len));
                }
                // Told of bytes that another read took; try_io has it wait for more.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Hands out every frame that `sealed` completes.
    fn open_all(&self, mut sealed: &[u8], give: &mut impl FnMut(Frame)) -> Result<(), LinkError> {
        let mut connection = lock(&self.shared);
        let mut unused = buffers::Batch::default();
        loop {
            take_records(&mut connection, &mut unused, give)?;
            if sealed.is_empty() {
                return Ok(());
            }
            // Takes some 4 KB at a time.
            if connection.read_tls(&mut sealed)? == 0 {
                return Err(LinkError::Closed);
            }
            connection.process_new_packets()?;
        }
    }
}

/// Every record that is opened.
fn take_records(
    connection: &mut Connection,
    unused: &mut buffers::Batch,
    give: &mut impl FnMut(Frame),
) -> Result<(), LinkError> {
    let mut plaintext = connection.reader();
    loop {
        match plaintext.fill_buf() {
            Ok([]) => return Err(LinkError::Closed),
            Ok(record) => {
                // rustls keeps each record's plaintext as a piece of its own.
                let len = record.len();
                let bytes: &[u8; FRAME_LEN] = record
                    .try_into()
                    .map_err(|_| LinkError::RecordLength(len))?;
                let frame = match Frame::peek_packet(bytes) {
                    Some((hint, packet)) => Frame::Packet(hint, unused.copy(packet)),
                    None => Frame::decode(bytes).map_err(LinkError::Frame)?,
                };
                plaintext.consume(FRAME_LEN);
                give(frame);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                return Err(LinkError::Closed);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

impl FrameWriter {
    /// Sends each frame in a record of its own, and as many as possible in one write.
    ///
    /// Not cancel safe: when it is dropped half-way, the link is [`LinkError::Broken`].
    pub async fn send(&mut self, frames: &[FrameBytes]) -> Result<(), LinkError> {
        let seal = |connection: &mut Connection, frame: &FrameBytes| {
            // One write of less than 16 KiB is one record.
            connection.writer().write_all(&frame[..])
        };
        self.send_with(frames, seal).await
    }

    /// The same for frames that are not yet encoded; packets are not copied for it.
    pub async fn send_frames(&mut self, frames: &[Frame]) -> Result<(), LinkError> {
        self.send_with(frames, seal_frame).await
    }

    async fn send_with<T: Sync>(
        &mut self,
        frames: &[T],
        seal: impl Fn(&mut Connection, &T) -> io::Result<()>,
    ) -> Result<(), LinkError> {
        if self.broken {
            return Err(LinkError::Broken);
        }
        self.broken = true;
        // Once without a frame, for what TLS itself has to say.
        let mut rest = frames;
        loop {
            let now = rest.len().min(SEAL_MAX);
            let began = self.meter.as_ref().and_then(TurnMeter::begin);
            {
                let mut connection = lock(&self.shared);
                for frame in &rest[..now] {
                    seal(&mut connection, frame)?;
                }
            }
            let done = self.try_flush()?;
            if let Some(meter) = &mut self.meter {
                meter.end(began);
            }
            if !done {
                match tokio::time::timeout(self.timeout, self.flush()).await {
                    Ok(result) => result?,
                    Err(_elapsed) => return Err(LinkError::Stalled),
                }
            }
            rest = &rest[now..];
            if rest.is_empty() {
                break;
            }
        }
        self.broken = false;
        Ok(())
    }

    /// Gives the socket what it takes at once; whether that was everything.
    fn try_flush(&self) -> Result<bool, LinkError> {
        let mut connection = lock(&self.shared);
        while connection.wants_write() {
            match connection.write_tls(&mut Socket(&self.tcp)) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// Seals frames and gives them to the socket, without waiting and on any thread: how many, which
    /// are all unless the socket would take no more for now. Then [`FrameWriter::finish`] is next.
    pub fn send_now(&mut self, frames: &[Frame]) -> Result<usize, LinkError> {
        if self.broken {
            return Err(LinkError::Broken);
        }
        self.broken = true;
        let mut sealed = 0;
        for frames in frames.chunks(SEAL_MAX) {
            {
                let mut connection = lock(&self.shared);
                for frame in frames {
                    seal_frame(&mut connection, frame)?;
                }
            }
            sealed += frames.len();
            if !self.try_flush()? {
                return Ok(sealed);
            }
        }
        self.broken = false;
        Ok(sealed)
    }

    /// Whether the socket has not yet taken all that was sealed.
    pub fn is_stuck(&self) -> bool {
        lock(&self.shared).wants_write()
    }

    /// Waits until the socket has taken what [`FrameWriter::send_now`] left.
    pub async fn finish(&mut self) -> Result<(), LinkError> {
        match tokio::time::timeout(self.timeout, self.flush()).await {
            Ok(result) => result?,
            Err(_elapsed) => return Err(LinkError::Stalled),
        }
        self.broken = false;
        Ok(())
    }

    async fn flush(&self) -> Result<(), LinkError> {
        while !self.try_flush()? {
            self.tcp.writable().await?;
        }
        Ok(())
    }

    /// Another limit than [`WRITE_TIMEOUT`].
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Counts what writing costs.
    pub fn measure(&mut self, meter: TurnMeter) {
        self.meter = Some(meter);
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
}

fn seal_frame(connection: &mut Connection, frame: &Frame) -> io::Result<()> {
    let Frame::Packet(hint, packet) = frame else {
        return connection.writer().write_all(&frame.encode()[..]);
    };
    let header = Frame::packet_header(*hint);
    let parts = [IoSlice::new(&header), IoSlice::new(&packet[..])];
    match connection.writer().write_vectored(&parts)? {
        FRAME_LEN => Ok(()),
        _ => Err(ErrorKind::WriteZero.into()),
    }
}

/// A socket that says "would block" instead of waiting.
struct Socket<'a>(&'a OwnedWriteHalf);

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A panic of the other half is this half's end too, not its concern: the state is only bytes.
fn lock(shared: &Mutex<Connection>) -> std::sync::MutexGuard<'_, Connection> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
