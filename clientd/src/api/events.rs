//! `GET /v1/events`: one page of the log, waited for, or the beginning of a stream. Where a reader
//! begins is the same for all three ways of reading.

use super::gate::Caller;
use super::problem::Problem;
use super::query::Given;
use super::{Api, Call, stream};
use crate::history::Told;
use hyper::header::{ACCEPT, HeaderMap};
use runtime::http::{Request, Response, StatusCode, respond};
use std::time::Duration;

/// Where a reader goes on: `Last-Event-ID`, else `after`, else behind what it has acknowledged. A
/// number that never was counts as the end: the reader knew another store, and gets all that is new.
pub(super) fn position(
    api: &Api,
    caller: &Caller,
    given: &Given,
    headers: &HeaderMap,
) -> Result<u64, Problem> {
    let header = headers.get("last-event-id");
    let header = header.map(|v| v.to_str().unwrap_or("-"));
    let named = match header.filter(|h| !h.is_empty()) {
        None => given.number("after"),
        Some(text) => {
            let digits = text.bytes().all(|b| b.is_ascii_digit());
            let number = text.parse().ok().filter(|_| digits);
            let detail = "Last-Event-ID is the number of an event, or 0";
            Some(number.ok_or_else(|| Problem::new("bad_position", detail))?)
        }
    };
    let acknowledged = || {
        let place = api.events.place(caller.0.as_deref());
        place.unwrap_or_default().acknowledged
    };
    Ok(named
        .unwrap_or_else(acknowledged)
        .min(api.events.span().last()))
}

/// Whether the request asks for a stream.
fn wants_stream(headers: &HeaderMap) -> bool {
    let asked = headers.get(ACCEPT).and_then(|v| v.to_str().ok());
    let kinds = asked.unwrap_or_default().split(',');
    kinds
        .map(|kind| kind.split(';').next().unwrap_or_default().trim())
        .any(|kind| kind.eq_ignore_ascii_case("text/event-stream"))
}

pub(super) async fn answer(
    api: &Api,
    call: &Call<'_>,
    request: &Request,
) -> Result<Response, Problem> {
    let after = position(api, &call.caller, &call.given, request.headers())?;
    if wants_stream(request.headers()) {
        return stream::start(api, &call.caller, after);
    }
    let wait = Duration::from_secs(call.given.number("wait").unwrap_or(0));
    let reading = poll(api, &call.caller, after, call.given.limit(), wait);
    let (events, next) = tokio::select! {
        read = reading => read?,
        // A waiting reader holds up no shutdown.
        () = api.shutdown.wait() => (Vec::new(), after),
    };
    let bodies: Vec<&str> = events.iter().map(|told| told.json.as_str()).collect();
    let body = format!("{{\"events\":[{}],\"next\":{next}}}", bodies.join(","));
    Ok(respond(StatusCode::OK, "application/json", body))
}

async fn poll(
    api: &Api,
    caller: &Caller,
    mut after: u64,
    limit: usize,
    wait: Duration,
) -> Result<(Vec<Told>, u64), Problem> {
    let deadline = tokio::time::Instant::now() + wait;
    let mut reader = api.events.clone();
    loop {
        let page = reader.page(caller.0.clone(), after, limit).await;
        let page = page.map_err(|_| Problem::store_failed())?;
        let at_end = page.through >= reader.span().last();
        after = after.max(page.through);
        if !page.events.is_empty() {
            return Ok((page.events, after));
        }
        if !at_end {
            continue;
        }
        match tokio::time::timeout_at(deadline, reader.wait(after)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return Ok((Vec::new(), after)),
        }
    }
}
