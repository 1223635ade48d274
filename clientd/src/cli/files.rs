//! The verbs about files, with progress on the terminal.

use super::people::send;
use super::talk::{Talk, ended, printable, unreachable};
use super::{FilesVerb, say};
use crate::api::types::{ApiEvent, BlobView, Blobs, EventRecord, Message};
use bytes::Bytes;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use runtime::http_client::Method;
use runtime::node::NodeError;
use serde_json::json;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

/// Bytes read from the disk at once.
const CHUNK: usize = 64 * 1024;

pub(super) async fn files(talk: &Talk, verb: &FilesVerb) -> Result<(), NodeError> {
    match verb {
        FilesVerb::List => list(talk).await,
        FilesVerb::Save { blob, path } => save(talk, blob, path.as_deref()).await,
        FilesVerb::Accept { contact, message } => {
            let path = of_message(talk, contact, message).await?;
            talk.request(Method::PUT, &path, None).await?;
            say("it will come; see `clientd listen`")
        }
        FilesVerb::Cancel { contact, message } => {
            let path = of_message(talk, contact, message).await?;
            talk.request(Method::DELETE, &path, None).await?;
            say("given up")
        }
        FilesVerb::Remove { blob } => {
            let path = format!("/v1/blobs/{blob}");
            talk.request(Method::DELETE, &path, None).await?;
            say("removed")
        }
    }
}

async fn of_message(talk: &Talk, contact: &str, message: &str) -> Result<String, NodeError> {
    let from = talk.contact(contact).await?;
    Ok(format!("/v1/contacts/{}/received/{message}/file", from.id))
}

async fn list(talk: &Talk) -> Result<(), NodeError> {
    let mut path = "/v1/blobs?limit=200".to_owned();
    loop {
        let page: Blobs = talk.ask(Method::GET, &path, None).await?;
        for b in page.blobs {
            let name = printable(&b.name);
            say(&format!("{}  {:>12}  {name}", b.blob, b.size))?;
        }
        match page.next {
            Some(next) => path = format!("/v1/blobs?limit=200&cursor={next}"),
            None => return Ok(()),
        }
    }
}

fn bar(len: u64, what: &str) -> ProgressBar {
    // On standard error, and only where that is a terminal.
    let bar = ProgressBar::with_draw_target(Some(len), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template(
        "{prefix:10} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
    );
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.set_prefix(what.to_owned());
    bar
}

/// Uploads a file and sends it; with `wait`, follows it until the contact has it.
pub(super) async fn send_file(
    talk: &Talk,
    contact: &str,
    text: &str,
    path: &Path,
    wait: bool,
) -> Result<(), NodeError> {
    let to = talk.contact(contact).await?;
    let file = File::open(path).map_err(|e| ended(format!("{}: {e}", path.display())))?;
    let len = file.metadata()?.len();
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("file");
    let upload = bar(len, "uploading");
    let (pieces, body) = mpsc::channel(4);
    let shown = upload.clone();
    let reading = tokio::task::spawn_blocking(move || read_all(file, &pieces, &shown));
    let at = format!("/v1/blobs?name={}", escape(name));
    let blob: BlobView = talk.upload(&at, len, body).await?;
    reading.await.map_err(|e| ended(e.to_string()))??;
    upload.finish_and_clear();
    let body = json!({ "text": text, "file": { "blob": blob.blob } });
    let newest = talk.ask::<crate::api::types::Status>(Method::GET, "/v1/status", None);
    let newest = newest.await?.events_last;
    let message = send(talk, &to, body).await?;
    if !wait {
        return Ok(());
    }
    follow(talk, &message, newest, len).await
}

fn read_all(
    mut file: File,
    pieces: &mpsc::Sender<Bytes>,
    shown: &ProgressBar,
) -> Result<(), NodeError> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok(());
        }
        let piece = Bytes::copy_from_slice(&buffer[..n]);
        if pieces.blocking_send(piece).is_err() {
            // The answer says why.
            return Ok(());
        }
        shown.inc(n as u64);
    }
}

/// What may stand in a query.
fn escape(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._~-".contains(&b);
    let one = |b: u8| match plain(b) {
        true => char::from(b).to_string(),
        false => format!("%{b:02X}"),
    };
    text.bytes().map(one).collect()
}

/// Follows the events about a message until it is delivered or given up.
async fn follow(talk: &Talk, message: &str, after: u64, len: u64) -> Result<(), NodeError> {
    let id = message.rsplit('/').next().unwrap_or_default();
    let sending = bar(len, "sending");
    let mut lines = talk.events(Some(after)).await?;
    let now: Message = talk.ask(Method::GET, message, None).await?;
    let mut state = now.state;
    while !["delivered", "read", "expired", "failed"].contains(&state.as_str()) {
        let Some(line) = lines.next().await.map_err(unreachable)? else {
            return Err(ended(
                "the daemon ended; the file goes on with its next start".into(),
            ));
        };
        let data = line.strip_prefix("data: ").unwrap_or_default();
        match serde_json::from_str::<EventRecord>(data).map(|r| r.event) {
            Ok(ApiEvent::FileProgress {
                id: Some(of), done, ..
            }) if of == id => {
                sending.set_position(done);
            }
            Ok(ApiEvent::MessageState {
                id: of, state: now, ..
            }) if of == id => state = now,
            Ok(_) | Err(_) => {}
        }
    }
    sending.finish_and_clear();
    match state.as_str() {
        "delivered" | "read" => say("delivered"),
        other => Err(ended(format!("the file was not delivered: {other}"))),
    }
}

/// Writes a file that came; never over one that is there.
async fn save(talk: &Talk, blob: &str, path: Option<&Path>) -> Result<(), NodeError> {
    let at = format!("/v1/blobs/{blob}");
    let info: BlobView = talk.ask(Method::GET, &format!("{at}/info"), None).await?;
    let path = path.map_or_else(|| PathBuf::from(safe_name(&info.name)), Path::to_owned);
    let made = File::options().write(true).create_new(true).open(&path);
    let mut file = made.map_err(|e| ended(format!("{}: {e}", path.display())))?;
    let saving = bar(info.size, "saving");
    let mut pieces = talk.download(&at).await?;
    let mut written = 0;
    while let Some(piece) = pieces.next().await.map_err(unreachable)? {
        file.write_all(&piece)?;
        written += piece.len() as u64;
        saving.inc(piece.len() as u64);
    }
    file.sync_all()?;
    saving.finish_and_clear();
    if written != info.size {
        return Err(ended(format!("only {written} of {} bytes came", info.size)));
    }
    say(&format!("{}: {written} bytes", path.display()))
}

/// A name that somebody else chose: the last part of it, in the current folder, never hidden.
fn safe_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let clean: String = last.chars().filter(|c| !c.is_control()).collect();
    let clean = clean.trim_start_matches('.');
    match clean.is_empty() {
        true => "file".to_owned(),
        false => clean.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contacts_name_of_a_file_leads_nowhere() {
        let names = [
            "../../etc/passwd",
            "/etc/passwd",
            "..\\x",
            ".bashrc",
            "a\u{7}b",
            "..",
            "",
        ];
        let safe = names.map(safe_name);
        assert_eq!(
            safe,
            ["passwd", "passwd", "x", "bashrc", "ab", "file", "file"]
        );
    }

    #[test]
    fn names_go_through_a_query() {
        assert_eq!(escape("a b&ä.txt"), "a%20b%26%C3%A4.txt");
    }
}
