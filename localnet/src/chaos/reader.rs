//! The application that reads: a process of its own, which is killed and goes on where it stopped.
//!
//! It does what any application does that must miss nothing: it takes events behind the last one that
//! it has written down, writes them to a file of its own, syncs it, and only then acknowledges. A line is
//! `cursor`, then for a message its digest; a line that a crash cut off is dropped at the start.

use super::texts::{Digest, digest};
use crate::live::Network;
use anyhow::{Context, Result, bail};
use clap::Args;
use runtime::http_client::{HttpClient, Method};
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The hidden verb.
pub const VERB: &str = "reader";
/// Events of one answer.
const PAGE: usize = 100;
/// Before asking again after a failure.
const PAUSE: Duration = Duration::from_millis(200);

/// What the process is told.
#[derive(Args, Debug, Clone)]
pub struct ReaderArgs {
    /// The client's API.
    #[arg(long)]
    pub api: SocketAddr,
    /// The application's token is in this file.
    #[arg(long)]
    pub token_file: PathBuf,
    /// Where it writes what it reads.
    #[arg(long)]
    pub journal: PathBuf,
}

/// The process, seen from the run.
pub struct Reader {
    args: ReaderArgs,
    program: PathBuf,
    child: Option<Child>,
    /// How far the journal was counted, and how many messages it had there.
    counted: (u64, usize),
}

impl Reader {
    /// Mints a token and starts it.
    pub async fn start(network: &Network, client: &str) -> Result<Self> {
        let planned = network.plan.nodes.iter().find(|n| n.name == client);
        let planned = planned.with_context(|| format!("no client {client}"))?;
        let (token_file, journal) = (
            planned.folder.join("reader.token"),
            planned.folder.join("reader.journal"),
        );
        std::fs::write(&token_file, super::token_for(network, client).await?)?;
        File::create(&journal)?;
        let mut reader = Self {
            args: ReaderArgs {
                api: planned.api.context("only clients have an API")?,
                token_file,
                journal,
            },
            program: std::env::current_exe()?,
            child: None,
            counted: (0, 0),
        };
        reader.restart()?;
        Ok(reader)
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Starts it (again).
    pub fn restart(&mut self) -> Result<()> {
        let child = Command::new(&self.program)
            .arg(VERB)
            .arg("--api")
            .arg(self.args.api.to_string())
            .arg("--token-file")
            .arg(&self.args.token_file)
            .arg("--journal")
            .arg(&self.args.journal)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start the application that reads")?;
        self.child = Some(child);
        Ok(())
    }

    /// How many messages it has written down.
    pub fn count(&mut self) -> Result<usize> {
        let mut file = File::open(&self.args.journal)?;
        file.seek(SeekFrom::Start(self.counted.0))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let whole = text.rfind('\n').map_or(0, |at| at + 1);
        let messages = text[..whole].lines().filter(|l| l.contains(' ')).count();
        self.counted = (self.counted.0 + whole as u64, self.counted.1 + messages);
        Ok(self.counted.1)
    }

    /// Digests of all messages that it has written down.
    pub fn read(&mut self) -> Result<Vec<Digest>> {
        self.kill()?;
        let text = std::fs::read_to_string(&self.args.journal)?;
        let mut digests = Vec::new();
        for line in text.lines() {
            let Some((_, hex)) = line.split_once(' ') else {
                continue;
            };
            if hex.starts_with("gap") {
                bail!("{}: events were lost: {line}", self.args.journal.display());
            }
            digests.push(directory::hex::decode(hex).context("a damaged journal")?);
        }
        Ok(digests)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// The process itself; ends by a signal, or with its parent.
pub async fn run(args: &ReaderArgs) -> Result<()> {
    let mut journal = Journal::open(&args.journal)?;
    let token = std::fs::read_to_string(&args.token_file)?;
    let bearer = format!("Bearer {token}");
    let mut http = HttpClient::new(args.api);
    http.timeout = Duration::from_secs(40);
    http.body_max = 64 << 20;
    let parent = std::os::unix::process::parent_id();
    // Another parent: the run was killed.
    while std::os::unix::process::parent_id() == parent {
        match page(&http, &bearer, journal.cursor).await {
            Ok(events) => {
                journal.write(&events)?;
                // A failure is made good by the next one: the position never goes back.
                let _ = acknowledge(&http, &bearer, journal.cursor).await;
            }
            // The client is away; it comes back.
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    Ok(())
}

async fn page(http: &HttpClient, bearer: &str, after: u64) -> Result<Vec<Value>> {
    let path = format!("/v1/events?after={after}&wait=20&limit={PAGE}");
    let headers = [("authorization", bearer)];
    let answer = http.request(Method::GET, &path, &headers, "").await?;
    if !answer.status.is_success() {
        bail!("the API answered {}", answer.status);
    }
    let mut answer: Value = serde_json::from_slice(&answer.body)?;
    match answer["events"].take() {
        Value::Array(events) => Ok(events),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            bail!("no list of events")
        }
    }
}

async fn acknowledge(http: &HttpClient, bearer: &str, through: u64) -> Result<()> {
    let headers = [
        ("authorization", bearer),
        ("content-type", "application/json"),
    ];
    let body = json!({ "through": through }).to_string();
    http.request(Method::POST, "/v1/events/ack", &headers, body)
        .await?;
    Ok(())
}

struct Journal {
    file: File,
    cursor: u64,
}

impl Journal {
    /// Takes up what was written, without a line that was cut off.
    fn open(path: &Path) -> Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).open(path)?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let whole = text.rfind('\n').map_or(0, |at| at + 1);
        file.set_len(whole as u64)?;
        let last = text[..whole].lines().next_back();
        let cursor = last.and_then(|line| line.split(' ').next()?.parse().ok());
        Ok(Self {
            file,
            cursor: cursor.unwrap_or(0),
        })
    }

    fn write(&mut self, events: &[Value]) -> Result<()> {
        let mut lines = String::new();
        for event in events {
            let cursor = event["cursor"]
                .as_u64()
                .context("an event without cursor")?;
            let told = match event["type"].as_str() {
                Some("message_received") => {
                    let text = event["text"].as_str().unwrap_or_default();
                    format!(" {}", directory::hex::encode(&digest(text)))
                }
                Some("gap") => format!(" gap {}", event["missed"]),
                _ => String::new(),
            };
            lines.push_str(&format!("{cursor}{told}\n"));
            self.cursor = self.cursor.max(cursor);
        }
        self.file.write_all(lines.as_bytes())?;
        self.file.sync_data()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_goes_on_behind_its_last_whole_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        File::create(&path).unwrap();
        let received =
            |cursor, text| json!({"cursor": cursor, "type": "message_received", "text": text});
        let mut journal = Journal::open(&path).unwrap();
        let state = json!({"cursor": 3, "type": "message_state"});
        journal.write(&[received(2, "a"), state]).unwrap();
        drop(journal);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"4 abcd").unwrap();
        let mut journal = Journal::open(&path).unwrap();
        assert_eq!(journal.cursor, 3);
        journal.write(&[received(4, "b")]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let cursors: Vec<&str> = text.lines().filter_map(|l| l.split(' ').next()).collect();
        assert_eq!(cursors, ["2", "3", "4"]);
    }
}
