//! HTTP routes for nodes. `docs/spec/directory.md` §7.
//!
//! | route | answer |
//! |---|---|
//! | `POST /v1/descriptor` | 200 stored or unchanged; 400, 403, 409, 422 with a line saying why |
//! | `POST /v1/report` | 200 stored or unchanged; 400, 403, 409, 422 with a line saying why |
//! | `GET /v1/directory` | the newest directory, binary, by gzip for who takes that, `ETag` is its hash; 304, 404 |
//! | `GET /v1/directory/{epoch}` | that epoch's; 304, 404 |
//! | `GET /v1/status` | JSON for people |
//! | `POST /v1/vote/statement`, `/v1/vote/signature` | for other authorities, with a ticket (`ticket`); 200, 400, 403, 413, 429, 503 |
//!
//! Limits on headers, bodies, time and connections are `runtime::http`'s. When the event loop is
//! behind, the answer is 503.

use crate::eventloop::{Answered, Ballotry, Command, Found};
use crate::lanes::{Lanes, Refused};
use crate::packed::{Packed, takes_gzip};
use crate::peers::{SIGNATURE_PATH, STATEMENT_PATH};
use crate::ticket::HEADER;
use directory::vote::{STATEMENT_MAX, Statement, VoteMessage};
use directory::{
    Accepted, DESCRIPTOR_MAX, DOCUMENT_MAX, DescriptorRefused, REPORT_MAX, ReportRefused,
    SignedDescriptor, SignedDirectory, SignedReport, hex,
};
use hyper::header::{
    CACHE_CONTROL, CONTENT_ENCODING, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, VARY,
};
use runtime::clock::Clock;
use runtime::http::{Method, Request, Response, StatusCode, read_short_body, respond, text};
use runtime::node::peer_clocks::TIME_HEADER;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use wire::ids::Epoch;

const BINARY: &str = "application/octet-stream";

/// The ways to the event loop.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) votes: mpsc::Sender<Ballotry>,
    pub(crate) lanes: Arc<Lanes>,
    pub(crate) body_timeout: Duration,
    pub(crate) clock: Clock,
    pub(crate) packed: Packed,
}

/// Every answer says what time it is here, so that whoever asks can compare.
pub(crate) async fn answer(request: Request, api: Api) -> Response {
    let clock = api.clock;
    let mut response = route(request, api).await;
    response
        .headers_mut()
        .insert(TIME_HEADER, HeaderValue::from(clock.unix().0));
    response
}

async fn route(request: Request, api: Api) -> Response {
    let Api {
        commands,
        body_timeout,
        packed,
        ..
    } = api.clone();
    let path = request.uri().path().to_owned();
    let method = request.method().clone();
    let directory = path.strip_prefix("/v1/directory");
    match (method, path.as_str(), directory) {
        (Method::POST, "/v1/descriptor", _) => {
            post_descriptor(request, &commands, body_timeout).await
        }
        (Method::POST, "/v1/report", _) => post_report(request, &commands, body_timeout).await,
        (Method::POST, STATEMENT_PATH | SIGNATURE_PATH, _) => post_vote(request, api).await,
        (Method::GET, "/v1/status", _) => get_status(&commands).await,
        (Method::GET, _, Some("")) => {
            get_directory(request.headers(), None, &commands, &packed).await
        }
        (Method::GET, _, Some(rest)) => match rest.strip_prefix('/').and_then(epoch) {
            Some(epoch) => get_directory(request.headers(), Some(epoch), &commands, &packed).await,
            None => not_found(),
        },
        (
            _,
            "/v1/descriptor" | "/v1/report" | "/v1/status" | STATEMENT_PATH | SIGNATURE_PATH,
            _,
        )
        | (_, _, Some(_)) => text(StatusCode::METHOD_NOT_ALLOWED, "not with this method\n"),
        _ => not_found(),
    }
}

async fn post_descriptor(
    request: Request,
    commands: &mpsc::Sender<Command>,
    body_timeout: Duration,
) -> Response {
    let body = match read_short_body(request.into_body(), DESCRIPTOR_MAX, body_timeout).await {
        Ok(body) => body,
        Err(error) => return error.response(),
    };
    let signed = match SignedDescriptor::decode(&body) {
        Ok(signed) => Box::new(signed),
        Err(why) => {
            let line = format!("this is no descriptor: {why}\n");
            return text(StatusCode::BAD_REQUEST, line);
        }
    };
    match ask(commands, |answer| Command::Descriptor(signed, answer)).await {
        None => busy(),
        Some(Ok(Accepted::Stored)) => text(StatusCode::OK, "stored\n"),
        Some(Ok(Accepted::Unchanged)) => text(StatusCode::OK, "unchanged\n"),
        Some(Err(why)) => text(status_of(why), format!("{why}\n")),
    }
}

async fn post_report(
    request: Request,
    commands: &mpsc::Sender<Command>,
    body_timeout: Duration,
) -> Response {
    let body = match read_short_body(request.into_body(), REPORT_MAX, body_timeout).await {
        Ok(body) => body,
        Err(error) => return error.response(),
    };
    let signed = match SignedReport::decode(&body) {
        Ok(signed) => Box::new(signed),
        Err(why) => {
            let line = format!("this is no report: {why}\n");
            return text(StatusCode::BAD_REQUEST, line);
        }
    };
    match ask(commands, |answer| Command::Report(signed, answer)).await {
        None => busy(),
        Some(Ok(Accepted::Stored)) => text(StatusCode::OK, "stored\n"),
        Some(Ok(Accepted::Unchanged)) => text(StatusCode::OK, "unchanged\n"),
        Some(Err(why)) => {
            let status = match why {
                ReportRefused::NotInDirectory | ReportRefused::BadSignature => {
                    StatusCode::FORBIDDEN
                }
                ReportRefused::WrongEpoch
                | ReportRefused::WrongDirectory
                | ReportRefused::Second => StatusCode::CONFLICT,
                ReportRefused::WrongShape => StatusCode::UNPROCESSABLE_ENTITY,
            };
            text(status, format!("{why}\n"))
        }
    }
}

/// Nothing of a body is read before its ticket was looked at.
async fn post_vote(request: Request, api: Api) -> Response {
    let ticket = request.headers().get(HEADER).and_then(|v| v.to_str().ok());
    let entered = api.lanes.enter(ticket.unwrap_or_default());
    let permit = match entered {
        Ok((_, permit)) => permit,
        Err(Refused::Stranger) => {
            let line = "only for the authorities of this network; compare network.toml\n";
            return text(StatusCode::FORBIDDEN, line);
        }
        Err(Refused::Clock(ahead)) => {
            let line = format!("your clock is {ahead} ms ahead of this one; one of us is wrong\n");
            return text(StatusCode::FORBIDDEN, line);
        }
        Err(Refused::TooMany) => {
            return text(StatusCode::TOO_MANY_REQUESTS, "too many, try again\n");
        }
    };
    let is_statement = request.uri().path() == STATEMENT_PATH;
    let max = if is_statement {
        STATEMENT_MAX
    } else {
        DOCUMENT_MAX
    };
    let body = match read_short_body(request.into_body(), max, api.body_timeout).await {
        Ok(body) => body,
        Err(error) => return error.response(),
    };
    let message = if is_statement {
        Statement::decode(&body).map(VoteMessage::Statement)
    } else {
        SignedDirectory::decode(&body).map(VoteMessage::Signature)
    };
    let message = match message {
        Ok(message) => message,
        Err(why) => {
            return text(
                StatusCode::BAD_REQUEST,
                format!("no message of a vote: {why}\n"),
            );
        }
    };
    let (answer, answered) = oneshot::channel();
    let ballotry = Ballotry {
        message,
        answer,
        _permit: permit,
    };
    // There is room for everything that lanes let in.
    if api.votes.try_send(ballotry).is_err() {
        return busy();
    }
    match answered.await {
        Ok(Answered::Taken) => text(StatusCode::OK, "taken\n"),
        Ok(Answered::Early) | Err(_) => busy(),
        Ok(Answered::Refused(why)) => text(StatusCode::CONFLICT, format!("{why}\n")),
    }
}

fn status_of(why: DescriptorRefused) -> StatusCode {
    match why {
        DescriptorRefused::NotAdmitted
        | DescriptorRefused::WrongRole
        | DescriptorRefused::BadSignature => StatusCode::FORBIDDEN,
        DescriptorRefused::Replayed => StatusCode::CONFLICT,
        DescriptorRefused::TooOld
        | DescriptorRefused::FromTheFuture
        | DescriptorRefused::NoUsableKey(_)
        | DescriptorRefused::NotPublic(_) => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

async fn get_directory(
    headers: &HeaderMap,
    epoch: Option<Epoch>,
    commands: &mpsc::Sender<Command>,
    packed: &Packed,
) -> Response {
    match ask(commands, |answer| Command::Directory(epoch, answer)).await {
        None => busy(),
        Some(None) => text(StatusCode::NOT_FOUND, "there is no such directory here\n"),
        Some(Some(found)) => hand_out(&found, headers, packed),
    }
}

fn hand_out(found: &Found, headers: &HeaderMap, packed: &Packed) -> Response {
    let hash = hex::encode(&found.hash.0);
    // Two forms of one document, so two tags (RFC 9110, section 8.8.3.3).
    let tags = [format!("\"{hash}\""), format!("\"{hash}-gzip\"")];
    let known = headers.get(IF_NONE_MATCH).and_then(|k| k.to_str().ok());
    let has_it = known.is_some_and(|k| {
        let mut one = k.split(',').map(str::trim);
        k == "*" || one.any(|one| tags.iter().any(|tag| tag == one))
    });
    let body = takes_gzip(headers).then(|| packed.of(found)).flatten();
    let [plain_tag, gzip_tag] = tags;
    let tag = if body.is_some() { gzip_tag } else { plain_tag };
    let is_packed = body.is_some();
    let mut response = match (has_it, body) {
        (true, _) => respond(StatusCode::NOT_MODIFIED, BINARY, ""),
        (false, Some(body)) => respond(StatusCode::OK, BINARY, body),
        (false, None) => respond(StatusCode::OK, BINARY, found.document.to_vec()),
    };
    let headers = response.headers_mut();
    if is_packed && !has_it {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

async fn get_status(commands: &mpsc::Sender<Command>) -> Response {
    let Some(status) = ask(commands, Command::Status).await else {
        return busy();
    };
    match serde_json::to_vec_pretty(&status) {
        Ok(json) => respond(StatusCode::OK, "application/json", json),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "no status\n"),
    }
}

/// `None` when too many wait already, or the process is ending.
async fn ask<T>(
    commands: &mpsc::Sender<Command>,
    command: impl FnOnce(oneshot::Sender<T>) -> Command,
) -> Option<T> {
    let (sender, receiver) = oneshot::channel();
    commands.try_send(command(sender)).ok()?;
    receiver.await.ok()
}

/// Decimal digits alone, as we write them: `+1` and `007` are no epochs.
fn epoch(text: &str) -> Option<Epoch> {
    let number = text.parse::<u64>().ok()?;
    (number.to_string() == text).then_some(Epoch(number))
}

fn busy() -> Response {
    text(StatusCode::SERVICE_UNAVAILABLE, "busy, try again soon\n")
}

fn not_found() -> Response {
    text(
        StatusCode::NOT_FOUND,
        "here are /v1/descriptor, /v1/directory and /v1/status\n",
    )
}
