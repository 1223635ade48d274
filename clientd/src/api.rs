//! The local API `/v1`: HTTP in front, the loop behind. `docs/spec/client-api.md`.
//!
//! Every request passes `gate` before anything else looks at it, then finds its route (`routes`). What
//! is decided is decided in the loop (`crate::eventloop`); here are bodies, events and files.
//!
//! Reading order: `routes` · `gate` · this file · `events`, `stream`, `socket` · `blobs` · `openapi`.

mod blobs;
mod body;
mod events;
mod gate;
mod openapi;
pub(crate) mod problem;
mod query;
mod routes;
mod socket;
mod stream;
pub mod types;

use crate::commands::{Ask, Command, Told};
use crate::files::Files;
use crate::history::EventReader;
use crate::token::Token;
pub(crate) use gate::{Caller, Names};
use messaging::{ClientMessageId, ContactId, MessageId};
pub use openapi::document as openapi_document;
use problem::Problem;
use query::Given;
use routes::{Op, Route};
use runtime::clock::Clock;
use runtime::http::{self, HttpLimits, Listener, Request, Response, StatusCode, respond};
use runtime::shutdown::Shutdown;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

/// For the loop and the disk to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// Wrong tokens in a second that are answered at once; further ones wait for [`SLOWED`].
const FAILURES_MAX: u32 = 20;
const SLOWED: Duration = Duration::from_millis(250);

/// Method and path of every route, with values that are well-formed and name nothing.
#[cfg(test)]
pub(crate) fn every_route() -> Vec<(&'static str, String)> {
    let none = "0".repeat(32);
    let fill = |path: &str| {
        let ids = ["{contact}", "{message_id}", "{blob}"];
        let path = ids
            .iter()
            .fold(path.to_owned(), |p, id| p.replace(id, &none));
        format!("/v1/{}", path.replace("{id}", "a").replace("{app}", "77"))
    };
    let routes = routes::ROUTES.iter();
    routes.map(|r| (r.method.as_str(), fill(r.path))).collect()
}

/// What requests are answered from.
pub(crate) struct Api {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) events: EventReader,
    pub(crate) files: Files,
    pub(crate) token: Token,
    pub(crate) clock: Clock,
    pub(crate) shutdown: Shutdown,
    pub(crate) limits: ApiLimits,
    /// Streams and WebSockets at a time.
    pub(crate) streams: Arc<Semaphore>,
    /// Set when a person wants everything wiped.
    pub(crate) wipe: Arc<AtomicBool>,
    pub(crate) requests: AtomicU64,
    /// Begins every request's name.
    pub(crate) prefix: String,
    /// Since when wrong tokens are counted, and how many came.
    pub(crate) failures: Mutex<Option<(Instant, u32)>>,
}

/// What the API itself limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ApiLimits {
    pub(crate) connections_max: usize,
    pub(crate) file_max: u64,
}

/// Answers at one listener until the shutdown.
pub(crate) async fn serve(listener: Listener, names: Names, api: Arc<Api>) {
    let limits = HttpLimits {
        connections_max: api.limits.connections_max,
        // Ours, in `body` and `blobs`, so that a body that is too long gets the same answer as all
        // else.
        body_max: usize::MAX,
        ..HttpLimits::default()
    };
    let shutdown = api.shutdown.clone();
    let names = Arc::new(names);
    let handler = move |request: Request| {
        let (api, names) = (api.clone(), names.clone());
        async move {
            let name = api.name();
            let answer = api.handle(request, &names).await;
            let answer = answer.unwrap_or_else(|problem| {
                tracing::debug!(request = %name, code = problem.code(), "a request is refused");
                problem.response(&name)
            });
            gate::harden(answer, &name)
        }
    };
    http::serve(listener, limits, shutdown, handler).await;
}

/// A request on its way to its route.
struct Call<'a> {
    caller: Caller,
    values: &'a [&'a str],
    given: Given,
}

impl Api {
    fn name(&self) -> String {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        format!("{}-{number}", self.prefix)
    }

    async fn handle(&self, request: Request, names: &Names) -> Result<Response, Problem> {
        gate::check(request.uri(), request.headers(), names)?;
        let caller = gate::caller(request.headers(), &self.token, &self.events.roster());
        let caller = match caller {
            Ok(caller) => caller,
            Err(problem) => {
                self.slow_down().await;
                return Err(problem);
            }
        };
        if let Some(app) = &caller.0 {
            app.called(self.clock.unix());
        }
        let path = request.uri().path().to_owned();
        let (route, values) = routes::find(request.method(), &path)?;
        caller.check(route.need)?;
        let given = Given::parse(route, request.uri().query())?;
        let call = Call {
            caller,
            values: &values,
            given,
        };
        self.answer(route, call, request).await
    }

    /// Somebody who guesses tokens is answered late.
    async fn slow_down(&self) {
        let now = Instant::now();
        let many = {
            let mut counted = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            let fresh = |since: Instant| now.duration_since(since) < Duration::from_secs(1);
            let (since, count) = counted.filter(|c| fresh(c.0)).unwrap_or((now, 0));
            *counted = Some((since, count.saturating_add(1)));
            count >= FAILURES_MAX
        };
        if many {
            tokio::time::sleep(SLOWED).await;
        }
    }

    async fn answer(
        &self,
        route: &Route,
        call: Call<'_>,
        request: Request,
    ) -> Result<Response, Problem> {
        let caller = &call.caller;
        let ask = match route.op {
            Op::OpenApi => return Ok(openapi::response()),
            Op::Events => return events::answer(self, &call, &request).await,
            Op::Socket => return socket::open(self, &call, request),
            Op::Upload => return blobs::upload(self, &call, request).await,
            Op::Blobs => return blobs::list(self, &call),
            Op::Download => return blobs::download(self, &call, &request).await,
            Op::BlobInfo => return blobs::info(self, &call),
            Op::RemoveBlob => return blobs::remove(self, &call).await,
            Op::FileOfMessage => return blobs::of_message(self, &call),
            Op::WipeEverything => {
                let types::Wipe { confirm } = body::json(request, route.body).await?;
                let types::Confirmation::Everything = confirm;
                self.wipe.store(true, Ordering::Relaxed);
                self.shutdown.trigger();
                return Ok(respond(StatusCode::ACCEPTED, "application/json", ""));
            }
            Op::Info => Ask::Info,
            Op::Health => Ask::Health,
            Op::Status => Ask::Status,
            Op::Ack => {
                let types::Ack { through } = body::json(request, route.body).await?;
                Ask::Acknowledge(through)
            }
            Op::Contacts => Ask::Contacts(cursor_contact(&call.given)?, call.given.limit()),
            Op::AddContact => Ask::NewContact(body::json(request, route.body).await?),
            Op::NewCard => Ask::NewCard(body::json(request, route.body).await?),
            Op::NewApp => Ask::NewApp(body::json(request, route.body).await?),
            Op::Apps => Ask::Apps(cursor_app(&call.given)?, call.given.limit()),
            Op::SelfApp => Ask::App(caller.id()),
            Op::App => Ask::App(app_id(&call)?),
            Op::RevokeApp => Ask::RevokeApp(app_id(&call)?),
            Op::Contact => Ask::Contact(contact(&call)?),
            Op::RemoveContact => Ask::RemoveContact(contact(&call)?),
            Op::ChangeContact => {
                Ask::ChangeContact(contact(&call)?, body::json(request, route.body).await?)
            }
            Op::WipeConversation => Ask::WipeConversation(contact(&call)?),
            Op::Message => Ask::MessageState(contact(&call)?, client_message(&call)?),
            Op::Send => {
                let (to, id) = (contact(&call)?, client_message(&call)?);
                let message: types::NewMessage = body::json_of(request, body::MESSAGE_MAX).await?;
                self.check_message(caller, &message)?;
                Ask::Send(to, id, message)
            }
            Op::Read => Ask::Read(contact(&call)?, message(&call)?),
            Op::AcceptFile => Ask::AcceptFile(contact(&call)?, message(&call)?),
            Op::CancelFile => Ask::CancelFile(contact(&call)?, message(&call)?),
        };
        let told = self.ask(caller, ask).await?;
        Ok(tell(told))
    }

    /// What the loop cannot know: whether the caller may see the file.
    fn check_message(&self, caller: &Caller, message: &types::NewMessage) -> Result<(), Problem> {
        let Some(file) = &message.file else {
            if message.text.is_empty() {
                return Err(Problem::new("empty_text", "say something, or send a file"));
            }
            return Ok(());
        };
        if !caller.may(types::Scope::Files) {
            let detail = "this token lacks the scope files";
            return Err(Problem::new("missing_scope", detail));
        }
        blobs::find(self, caller, &file.blob).map(|_| ())
    }

    /// Asks the loop.
    async fn ask(&self, caller: &Caller, ask: Ask) -> Result<Told, Problem> {
        let (answer, reply) = oneshot::channel();
        let by = caller.0.clone();
        let asking = async {
            let command = Command { ask, by, answer };
            self.commands.send(command).await.ok()?;
            reply.await.ok()
        };
        match tokio::time::timeout(ANSWER_TIMEOUT, asking).await {
            Ok(Some(reply)) => reply,
            Ok(None) | Err(_) => Err(Problem::busy()),
        }
    }
}

fn tell(told: Told) -> Response {
    let status = StatusCode::from_u16(told.status).unwrap_or(StatusCode::OK);
    let mut response = respond(status, "application/json", told.json);
    if status == StatusCode::NO_CONTENT {
        response.headers_mut().remove("content-type");
    }
    response
}

/// The contact that the path names, if it exists for the caller.
fn contact(call: &Call<'_>) -> Result<ContactId, Problem> {
    let id = contact_id(call.values.first().copied().unwrap_or_default())?;
    match call.caller.sees(&id) {
        true => Ok(id),
        false => Err(Problem::unknown_contact()),
    }
}

fn contact_id(text: &str) -> Result<ContactId, Problem> {
    let detail = "a contact's id has 32 lower-case hex digits; see GET /v1/contacts";
    ContactId::from_hex(text).ok_or_else(|| Problem::new("bad_contact_id", detail))
}

fn client_message(call: &Call<'_>) -> Result<ClientMessageId, Problem> {
    let detail = "a message id has 1 to 64 characters out of A-Z a-z 0-9 . _ ~ -";
    let text = call.values.get(1).copied().unwrap_or_default();
    ClientMessageId::new(text).ok_or_else(|| Problem::new("bad_message_id", detail))
}

fn message(call: &Call<'_>) -> Result<MessageId, Problem> {
    let detail = "a contact's message has an id of 32 lower-case hex digits; see its event";
    let text = call.values.get(1).copied().unwrap_or_default();
    let id = hex16(text).map(MessageId);
    id.ok_or_else(|| Problem::new("bad_message_id", detail))
}

/// 32 lower-case hex digits.
fn hex16(text: &str) -> Option<[u8; 16]> {
    let lower = text.bytes().all(|b| !b.is_ascii_uppercase());
    directory::hex::decode(text).filter(|_| lower)
}

fn app_id(call: &Call<'_>) -> Result<u32, Problem> {
    let text = call.values.first().copied().unwrap_or_default();
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let id = text.parse().ok().filter(|_| digits);
    id.ok_or_else(|| Problem::new("bad_app_id", "an application's number; see GET /v1/apps"))
}

fn cursor_contact(given: &Given) -> Result<Option<ContactId>, Problem> {
    let bad = || Problem::bad_query("cursor is `next` of the page before");
    let parse = |text| ContactId::from_hex(text).ok_or_else(bad);
    given.text("cursor").map(parse).transpose()
}

fn cursor_app(given: &Given) -> Result<u32, Problem> {
    let bad = |_| Problem::bad_query("cursor is `next` of the page before");
    given
        .text("cursor")
        .map_or(Ok(0), |text| text.parse().map_err(bad))
}
