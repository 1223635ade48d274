//! `GET /v1/ws`: the same events through a WebSocket, and acknowledgements back. For programs whose
//! libraries have nothing better: it tells nothing that the stream does not.

use super::gate::{self, Caller};
use super::problem::Problem;
use super::stream::{HEARTBEAT, PAGE, STUCK, too_many};
use super::types::Ack;
use super::{Api, Call, events};
use crate::commands::{Ask, Command};
use crate::history::EventReader;
use futures_util::{SinkExt, StreamExt};
use hyper::header::{
    CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use runtime::http::{Request, Response, StatusCode, Upgrade, respond, upgrade};
use std::io;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};

/// Most bytes of what a reader sends: acknowledgements.
const FRAME_MAX: usize = 4 * 1024;
/// A reader that answers no ping for so long is gone.
const SILENT: std::time::Duration = HEARTBEAT.saturating_mul(3);

/// Answers 101 and goes on behind it.
pub(super) fn open(api: &Api, call: &Call<'_>, mut request: Request) -> Result<Response, Problem> {
    let after = events::position(api, &call.caller, &call.given, request.headers())?;
    let key = websocket_key(request.headers())?;
    let room = api.streams.clone().try_acquire_owned();
    let room = room.map_err(|_| too_many())?;
    let upgrade = upgrade(&mut request);
    let session = Session {
        reader: api.events.clone(),
        commands: api.commands.clone(),
        caller: call.caller.clone(),
        after,
    };
    let shutdown = api.shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = shutdown.wait() => {}
            ended = session.run(upgrade) => if let Err(error) = ended {
                tracing::debug!(%error, "a WebSocket ended early");
            },
        }
        drop(room);
    });
    let mut response = respond(StatusCode::SWITCHING_PROTOCOLS, "application/json", "");
    let headers = response.headers_mut();
    headers.remove("content-type");
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    Ok(response)
}

fn websocket_key(headers: &HeaderMap) -> Result<String, Problem> {
    let has = |name, wanted: &str| {
        let value = gate::only(headers, name).unwrap_or_default();
        value
            .split(',')
            .any(|v| v.trim().eq_ignore_ascii_case(wanted))
    };
    let asked = has(&UPGRADE, "websocket") && has(&CONNECTION, "upgrade");
    let key = gate::only(headers, &SEC_WEBSOCKET_KEY).filter(|k| k.len() == 24);
    match key {
        Some(key) if asked && has(&SEC_WEBSOCKET_VERSION, "13") => Ok(key.to_owned()),
        Some(_) | None => {
            let detail = "ask for a WebSocket of version 13 here; for a stream see /v1/events";
            Err(Problem::new("not_a_websocket", detail))
        }
    }
}

struct Session {
    reader: EventReader,
    commands: mpsc::Sender<Command>,
    caller: Caller,
    after: u64,
}

/// Why the other end is told to go.
enum End {
    /// It said so, or is gone.
    Gone,
    /// What it sent is no acknowledgement.
    Nonsense(String),
    /// Its token was revoked.
    Revoked,
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

impl Session {
    async fn run(mut self, upgrade: Upgrade) -> io::Result<()> {
        let config = WebSocketConfig::default()
            .max_message_size(Some(FRAME_MAX))
            .max_frame_size(Some(FRAME_MAX));
        let io = upgrade.connection().await?;
        let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        let (code, reason) = match self.talk(&mut socket).await {
            End::Gone => return Ok(()),
            End::Nonsense(why) => (CloseCode::Policy, why),
            End::Revoked => (CloseCode::Policy, "the token was revoked".to_owned()),
        };
        let frame = CloseFrame {
            code,
            reason: reason.into(),
        };
        let _ = timeout(STUCK, socket.close(Some(frame))).await;
        Ok(())
    }

    async fn talk<S>(&mut self, socket: &mut WebSocketStream<S>) -> End
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut watcher = self.reader.clone();
        let app = self.caller.0.clone();
        let mut heard = Instant::now();
        let mut beat = tokio::time::interval(HEARTBEAT);
        loop {
            if let Err(end) = self.tell_all(socket).await {
                return end;
            }
            let revoked = async {
                match &app {
                    Some(app) => watcher.revoked(app).await,
                    None => std::future::pending().await,
                }
            };
            let said = tokio::select! {
                news = self.reader.wait(self.after) => match news {
                    Ok(()) => continue,
                    Err(_) => return End::Gone,
                },
                said = socket.next() => said,
                () = revoked => return End::Revoked,
                _ = beat.tick() => {
                    if heard.elapsed() > SILENT {
                        return End::Gone;
                    }
                    if let Err(end) = say(socket, Message::Ping(Vec::new().into())).await {
                        return end;
                    }
                    continue;
                }
            };
            heard = Instant::now();
            match said {
                Some(Ok(Message::Text(text))) => {
                    if let Err(end) = self.acknowledge(socket, &text).await {
                        return end;
                    }
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Binary(_))) => {
                    return End::Nonsense("send text: {\"through\":N}".to_owned());
                }
                Some(Ok(Message::Close(_) | Message::Frame(_)) | Err(_)) | None => {
                    return End::Gone;
                }
            }
        }
    }

    async fn tell_all<S>(&mut self, socket: &mut WebSocketStream<S>) -> Result<(), End>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        while self.after < self.reader.span().last() {
            let page = self.reader.page(self.caller.0.clone(), self.after, PAGE);
            let page = page.await.map_err(|_| End::Gone)?;
            for told in page.events {
                self.after = told.number;
                say(socket, Message::text(told.json.as_str())).await?;
            }
            self.after = self.after.max(page.through);
        }
        Ok(())
    }

    async fn acknowledge<S>(&self, socket: &mut WebSocketStream<S>, text: &str) -> Result<(), End>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let ack: Ack = serde_json::from_str(text)
            .map_err(|_| End::Nonsense("send {\"through\":N}".to_owned()))?;
        let (answer, reply) = oneshot::channel();
        let command = Command {
            ask: Ask::Acknowledge(ack.through),
            by: self.caller.0.clone(),
            answer,
        };
        self.commands.send(command).await.map_err(|_| End::Gone)?;
        let told = match reply.await.map_err(|_| End::Gone)? {
            Ok(told) => told,
            Err(problem) => return Err(End::Nonsense(problem.code().to_owned())),
        };
        let text = String::from_utf8_lossy(&told.json).into_owned();
        say(socket, Message::text(text)).await
    }
}

async fn say<S>(socket: &mut WebSocketStream<S>, message: Message) -> Result<(), End>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match timeout(STUCK, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(End::Gone),
    }
}
