//! The loopback API `/v1`: HTTP in front, the loop behind. `docs/spec/client-api.md`.
//!
//! Every request passes `gate` before anything else looks at it. What is decided is decided in the
//! loop (`crate::eventloop`); here are routes, bodies and the event stream.

mod gate;
pub(crate) mod problem;
mod stream;
pub mod types;

use crate::commands::{Ask, Command, Told};
use crate::history::EventReader;
use crate::token::Token;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body as _;
use messaging::{ClientMessageId, ContactId};
use problem::Problem;
use runtime::http::{self, HttpLimits, Method, Request, Response, StatusCode, respond};
use runtime::shutdown::Shutdown;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

/// Most bytes of a request's body.
pub(crate) const BODY_MAX: usize = 64 * 1024;
/// For a body to come in.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// For the loop and the disk to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// What requests are answered from.
pub(crate) struct Api {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) events: EventReader,
    pub(crate) token: Token,
    /// The port we listen at; a `Host` must name it.
    pub(crate) port: u16,
    pub(crate) shutdown: Shutdown,
}

/// Answers until the shutdown.
pub(crate) async fn serve(listener: TcpListener, connections_max: usize, api: Api) {
    let limits = HttpLimits {
        connections_max,
        // Ours, in `body`, so that a body that is too long gets the same answer as all else.
        body_max: usize::MAX,
        ..HttpLimits::default()
    };
    let shutdown = api.shutdown.clone();
    let api = Arc::new(api);
    let handler = move |request: Request| {
        let api = api.clone();
        async move { gate::harden(api.handle(request).await) }
    };
    http::serve(listener, limits, shutdown, handler).await;
}

impl Api {
    async fn handle(&self, request: Request) -> Response {
        let answer = match gate::check(request.uri(), request.headers(), self.port, &self.token) {
            Ok(()) => self.route(request).await,
            Err(problem) => Err(problem),
        };
        answer.unwrap_or_else(|problem| problem.response())
    }

    async fn route(&self, request: Request) -> Result<Response, Problem> {
        let path = request.uri().path().to_owned();
        let Some(rest) = path.strip_prefix("/v1/") else {
            return Err(no_such_place());
        };
        let segments: Vec<&str> = rest.split('/').collect();
        let get = request.method() == Method::GET;
        let (post, put) = (
            request.method() == Method::POST,
            request.method() == Method::PUT,
        );
        match segments[..] {
            ["info"] if get => self.ask(Ask::Info).await,
            ["health"] if get => self.ask(Ask::Health).await,
            ["status"] if get => self.ask(Ask::Status).await,
            ["events"] if get => self.events(&request),
            ["contacts"] if get => self.ask(Ask::Contacts).await,
            ["cards"] if post => self.new_card(request).await,
            ["contacts"] if post => self.new_contact(request).await,
            ["contacts", contact, "messages", id] if get || put => {
                let (contact, id) = (contact_id(contact)?, message_id(id)?);
                if get {
                    return self.ask(Ask::MessageState { contact, id }).await;
                }
                let types::NewMessage { text } = body(request, false).await?;
                if text.is_empty() {
                    return Err(Problem::new(400, "empty_text", "say something"));
                }
                self.ask(Ask::Send { contact, id, text }).await
            }
            ["info" | "health" | "status" | "events"] => Err(wrong_method("GET")),
            ["cards"] => Err(wrong_method("POST")),
            ["contacts"] => Err(wrong_method("GET and POST")),
            ["contacts", _, "messages", _] => Err(wrong_method("GET and PUT")),
            _ => Err(no_such_place()),
        }
    }

    async fn new_card(&self, request: Request) -> Result<Response, Problem> {
        let types::NewCard {
            name,
            expires_in_seconds,
        } = body(request, true).await?;
        self.ask(Ask::NewCard {
            name,
            expires_in_seconds,
        })
        .await
    }

    async fn new_contact(&self, request: Request) -> Result<Response, Problem> {
        let types::NewContact { card, name } = body(request, false).await?;
        self.ask(Ask::NewContact { card, name }).await
    }

    fn events(&self, request: &Request) -> Result<Response, Problem> {
        let after = stream::position(request.uri(), request.headers())?;
        Ok(stream::start(
            self.events.clone(),
            after,
            self.shutdown.clone(),
        ))
    }

    /// Asks the loop.
    async fn ask(&self, ask: Ask) -> Result<Response, Problem> {
        let (answer, reply) = oneshot::channel();
        let asking = async {
            let command = Command { ask, answer };
            self.commands.send(command).await.ok()?;
            reply.await.ok()
        };
        match tokio::time::timeout(ANSWER_TIMEOUT, asking).await {
            Ok(Some(reply)) => reply.map(|told| tell(&told)),
            Ok(None) | Err(_) => Err(Problem::busy()),
        }
    }
}

fn tell(told: &Told) -> Response {
    match told {
        Told::Info(info) => json(StatusCode::OK, info),
        Told::Health(health) if health.ready => json(StatusCode::OK, health),
        Told::Health(health) => json(StatusCode::SERVICE_UNAVAILABLE, health),
        Told::Status(status) => json(StatusCode::OK, status),
        Told::Contacts(contacts) => json(StatusCode::OK, contacts),
        Told::Card(card) => json(StatusCode::CREATED, card),
        Told::Contact(contact) => json(StatusCode::CREATED, contact),
        Told::Accepted(true, message) => json(StatusCode::ACCEPTED, message),
        Told::Accepted(false, message) | Told::Message(message) => json(StatusCode::OK, message),
    }
}

fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let body = serde_json::to_vec(value).expect("numbers, strings and lists are always JSON");
    respond(status, "application/json", body)
}

/// A request's JSON. `optional`: no body at all is as good as `{}`.
async fn body<T: DeserializeOwned>(request: Request, optional: bool) -> Result<T, Problem> {
    let announced = request.body().size_hint().lower();
    if announced > BODY_MAX as u64 {
        return Err(Problem::body_too_large(BODY_MAX));
    }
    let is_json = gate::is_json(request.headers());
    let collecting = Limited::new(request.into_body(), BODY_MAX).collect();
    let bytes = match tokio::time::timeout(BODY_TIMEOUT, collecting).await {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return Err(Problem::body_too_large(BODY_MAX));
        }
        Ok(Err(_)) => return Err(Problem::new(400, "bad_body", "the body cannot be read")),
        Err(_) => return Err(Problem::new(408, "slow_body", "the body came too slowly")),
    };
    let bytes = match (bytes.is_empty(), optional) {
        (true, true) => Bytes::from_static(b"{}"),
        _ if !is_json => {
            let detail = "send JSON, and say so: Content-Type: application/json";
            return Err(Problem::new(415, "not_json", detail));
        }
        _ => bytes,
    };
    serde_json::from_slice(&bytes).map_err(|error| {
        // serde's text can repeat what was sent; it goes back to the sender alone.
        Problem::new(
            400,
            "bad_json",
            format!("the body is not as documented: {error}"),
        )
    })
}

fn contact_id(text: &str) -> Result<ContactId, Problem> {
    let detail = "a contact's id has 32 lower-case hex digits; see GET /v1/contacts";
    ContactId::from_hex(text).ok_or_else(|| Problem::new(400, "bad_contact_id", detail))
}

fn message_id(text: &str) -> Result<ClientMessageId, Problem> {
    let detail = "a message id has 1 to 64 characters out of A-Z a-z 0-9 . _ ~ -";
    ClientMessageId::new(text).ok_or_else(|| Problem::new(400, "bad_message_id", detail))
}

fn no_such_place() -> Problem {
    Problem::new(404, "no_such_place", "there is nothing at this path")
}

fn wrong_method(right: &str) -> Problem {
    Problem::new(405, "wrong_method", format!("use {right}"))
}
