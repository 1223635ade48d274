//! `/v1/blobs`: bytes of files as they are, in both directions, streamed. Not here: how they lie on the
//! disk (`crate::files`).
//!
//! A file exists for a caller who has the scope `files` and may see one of the contacts whose
//! conversations use it; an upload that no message uses yet, for everybody with the scope.

use super::gate::{self, Caller};
use super::problem::Problem;
use super::types::{BlobView, Blobs};
use super::{Api, Call, contact, hex16, message};
use crate::files::{BlobInfo, READ_MAX, Reader, Upload};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body as _;
use hyper::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderName,
    HeaderValue, RANGE,
};
use messaging::BlobRef;
use runtime::http::{Method, Request, Response, StatusCode, respond, stream};
use std::time::Duration;
use store::StoreError;
use tokio::sync::mpsc;

/// A body or a reader that moves nothing for so long is let go. Tests wait less.
const STUCK: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 30 });
/// Pieces that wait for the disk, or for a reader.
const BUFFER: usize = 4;

/// What is known of a file that exists for the caller.
pub(super) fn find(api: &Api, caller: &Caller, name: &str) -> Result<BlobInfo, Problem> {
    let detail = "a blob's name has 32 lower-case hex digits";
    let blob = hex16(name).map(BlobRef);
    let blob = blob.ok_or_else(|| Problem::new("bad_blob_id", detail))?;
    let unknown = || {
        Problem::new(
            "unknown_blob",
            "no such file is here, or it is not whole yet",
        )
    };
    let info = api.files.info(&blob).ok_or_else(unknown)?;
    match sees(api, caller, &blob) {
        true => Ok(info),
        false => Err(unknown()),
    }
}

fn sees(api: &Api, caller: &Caller, blob: &BlobRef) -> bool {
    let users = api.files.contacts(blob);
    users.is_none_or(|contacts| contacts.iter().any(|contact| caller.sees(contact)))
}

pub(super) fn view(info: BlobInfo) -> BlobView {
    BlobView {
        blob: directory::hex::encode(&info.blob.0),
        name: info.name,
        media_type: info.media_type,
        size: info.size,
        sha256: directory::hex::encode(&info.sha256),
    }
}

fn json(status: StatusCode, value: &impl serde::Serialize) -> Response {
    let body = serde_json::to_vec(value).expect("numbers, strings and lists are always JSON");
    respond(status, "application/json", body)
}

fn nothing() -> Response {
    let mut response = respond(StatusCode::NO_CONTENT, "application/json", "");
    response.headers_mut().remove("content-type");
    response
}

/// Runs what waits for the disk.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Problem::store_failed())?
        .map_err(Problem::from)
}

pub(super) fn list(api: &Api, call: &Call<'_>) -> Result<Response, Problem> {
    let after = call.given.text("cursor").unwrap_or_default().to_owned();
    let limit = call.given.limit();
    let mut all = api.files.all().into_iter();
    let mut blobs: Vec<BlobView> = all
        .by_ref()
        .filter(|info| sees(api, &call.caller, &info.blob))
        .map(view)
        .filter(|view| view.blob > after)
        .take(limit + 1)
        .collect();
    let more = blobs.len() > limit;
    blobs.truncate(limit);
    let next = blobs.last().filter(|_| more).map(|b| b.blob.clone());
    Ok(json(StatusCode::OK, &Blobs { blobs, next }))
}

pub(super) fn info(api: &Api, call: &Call<'_>) -> Result<Response, Problem> {
    let info = find(api, &call.caller, call.values[0])?;
    Ok(json(StatusCode::OK, &view(info)))
}

pub(super) fn of_message(api: &Api, call: &Call<'_>) -> Result<Response, Problem> {
    let (contact, message) = (contact(call)?, message(call)?);
    let found = api.files.received(&contact, &message);
    let detail = "this message brought no file, or it is not whole yet";
    let info = found.ok_or_else(|| Problem::new("unknown_file", detail))?;
    Ok(json(StatusCode::OK, &view(info)))
}

pub(super) async fn remove(api: &Api, call: &Call<'_>) -> Result<Response, Problem> {
    let info = find(api, &call.caller, call.values[0])?;
    let files = api.files.clone();
    blocking(move || files.remove(&info.blob)).await?;
    Ok(nothing())
}

/// Takes the body piece by piece; what is in memory is a few pieces.
pub(super) async fn upload(
    api: &Api,
    call: &Call<'_>,
    request: Request,
) -> Result<Response, Problem> {
    if !gate::is_type(request.headers(), "application/octet-stream") {
        // A media type that no form can send; what the file is stands in the query.
        let detail = "send bytes, and say so: Content-Type: application/octet-stream";
        return Err(Problem::new("not_octets", detail));
    }
    let name = call.given.text("name").unwrap_or_default().to_owned();
    let media_type = call.given.text("media_type").unwrap_or_default().to_owned();
    check_names(&name, &media_type)?;
    let max = api.limits.file_max;
    let too_large = || {
        let detail = format!("a file has at most {max} bytes");
        Problem::new("file_too_large", detail).with_max(max)
    };
    let announced = request.body().size_hint().lower();
    if announced > max {
        return Err(too_large());
    }
    let files = api.files.clone();
    let mut upload: Upload = blocking(move || files.upload()).await?;
    let mut body = request.into_body();
    loop {
        let piece = match tokio::time::timeout(STUCK, body.frame()).await {
            Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
            Ok(None) => break,
            Ok(Some(Err(_))) => return Err(Problem::new("bad_body", "the body cannot be read")),
            Err(_) => return Err(Problem::new("slow_body", "the body came too slowly")),
        };
        if upload.len() + piece.len() as u64 > max {
            return Err(too_large());
        }
        upload = blocking(move || upload.push(&piece).map(|()| upload)).await?;
    }
    let unix = api.clock.unix();
    let info = blocking(move || upload.finish(name, media_type, unix)).await?;
    Ok(json(StatusCode::CREATED, &view(info)))
}

fn check_names(name: &str, media_type: &str) -> Result<(), Problem> {
    let bad = |detail: &str| Err(Problem::new("bad_file", detail));
    if name.len() > 128 || name.chars().any(|c| c.is_control() || "/\\".contains(c)) {
        return bad("a name has at most 128 bytes, no control characters, no path separators");
    }
    if media_type.len() > 64 || media_type.chars().any(char::is_control) {
        return bad("a media type has at most 64 bytes and no control characters");
    }
    Ok(())
}

pub(super) async fn download(
    api: &Api,
    call: &Call<'_>,
    request: &Request,
) -> Result<Response, Problem> {
    let info = find(api, &call.caller, call.values[0])?;
    let (from, until, whole) = match range(request.headers(), info.size)? {
        Some((from, until)) => (from, until, false),
        None => (0, info.size, true),
    };
    let mut response = match *request.method() == Method::HEAD {
        true => respond(StatusCode::OK, "application/octet-stream", ""),
        false => {
            let (files, blob) = (api.files.clone(), info.blob);
            let reader = blocking(move || files.reader(&blob)).await?;
            debug_assert_eq!(reader.info().size, info.size);
            let (pieces, body) = mpsc::channel(BUFFER);
            tokio::spawn(send_all(reader, from, until, pieces));
            stream("application/octet-stream", body)
        }
    };
    if !whole {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, (until - from).into());
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // The name is somebody's word and stays in JSON; a browser shows nothing of it.
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    let digest = format!("\"{}\"", directory::hex::encode(&info.sha256));
    let set = |headers: &mut HeaderMap, name: HeaderName, text: String| {
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(name, value);
        }
    };
    set(headers, hyper::header::ETAG, digest);
    if !whole {
        let size = info.size;
        let text = format!("bytes {from}-{}/{size}", until - 1);
        set(headers, CONTENT_RANGE, text);
    }
    Ok(response)
}

/// Ends early when the reader is gone, stuck, or the file is removed meanwhile: the length that was
/// announced tells the reader.
async fn send_all(reader: Reader, from: u64, until: u64, pieces: mpsc::Sender<Bytes>) {
    let mut at = from;
    let mut reader = reader;
    while at < until {
        let len = (until - at).min(READ_MAX as u64);
        let read = tokio::task::spawn_blocking(move || (reader.read(at, len), reader)).await;
        let Ok((Ok(bytes), back)) = read else {
            return;
        };
        reader = back;
        if bytes.is_empty() {
            return;
        }
        at += bytes.len() as u64;
        let piece = Bytes::copy_from_slice(&bytes);
        if pieces.send_timeout(piece, STUCK).await.is_err() {
            return;
        }
    }
}

/// One range of RFC 9110 §14: from and until, the end not included. Several ranges, and units that
/// are not bytes, are answered with the whole.
fn range(headers: &HeaderMap, size: u64) -> Result<Option<(u64, u64)>, Problem> {
    let Some(text) = gate::only(headers, &RANGE).and_then(|r| r.strip_prefix("bytes=")) else {
        return Ok(None);
    };
    let Some((from, to)) = text.split_once('-').filter(|_| !text.contains(',')) else {
        return Ok(None);
    };
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        // More digits than a number has mean: beyond every end.
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let (from, until) = match (number(from.trim()), number(to.trim())) {
        (Some(from), Some(to)) if from <= to => (from, to.saturating_add(1).min(size)),
        (Some(from), None) if to.trim().is_empty() => (from, size),
        (None, Some(last)) if from.trim().is_empty() => (size.saturating_sub(last), size),
        _ => return Ok(None),
    };
    if from >= until {
        let detail = format!("the file has {size} bytes");
        return Err(Problem::new("bad_range", detail).with_max(size));
    }
    Ok(Some((from, until)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        let of = |text: &str, size| {
            let mut headers = HeaderMap::new();
            headers.insert(RANGE, HeaderValue::from_str(text).unwrap());
            range(&headers, size).map_err(|p| p.code())
        };
        assert_eq!(of("bytes=0-9", 100), Ok(Some((0, 10))));
        assert_eq!(of("bytes=90-", 100), Ok(Some((90, 100))));
        assert_eq!(of("bytes=-10", 100), Ok(Some((90, 100))));
        assert_eq!(of("bytes=-1000", 100), Ok(Some((0, 100))));
        assert_eq!(of("bytes=0-99999999999999999999", 100), Ok(Some((0, 100))));
        for whole in [
            "items=0-9",
            "bytes=0-1,3-4",
            "bytes=9-0",
            "bytes=x-",
            "bytes=-",
            "bytes=+1-2",
        ] {
            assert_eq!(of(whole, 100), Ok(None), "{whole}");
        }
        for outside in ["bytes=100-", "bytes=100-200", "bytes=-0"] {
            assert_eq!(of(outside, 100), Err("bad_range"), "{outside}");
        }
        assert_eq!(of("bytes=0-", 0), Err("bad_range"));
    }
}
