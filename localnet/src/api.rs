//! A client's loopback API, as an application uses it.

use crate::plan::Planned;
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use runtime::http_client::{HttpClient, Lines, Method, Pieces};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc;

/// Before a stream of events that broke is opened again.
const AGAIN: Duration = Duration::from_millis(200);

/// Talks to one clientd.
pub struct Api {
    http: HttpClient,
    token_file: PathBuf,
}

impl Api {
    /// The API of a planned client.
    pub fn new(client: &Planned) -> Result<Self> {
        let mut http = HttpClient::new(client.api.context("only clients have an API")?);
        // A dozen daemons at many times their rates, and a compiler beside them, may share two cores.
        http.timeout = Duration::from_secs(30);
        Ok(Self {
            http,
            token_file: client.data().join("api.token"),
        })
    }

    /// `GET path`, as JSON.
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.json(Method::GET, path, None).await
    }

    /// Any request with a JSON body; the status must be a success.
    pub async fn json(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let bearer = self.bearer()?;
        let mut headers = vec![("authorization", bearer.as_str())];
        if body.is_some() {
            headers.push(("content-type", "application/json"));
        }
        let bytes = body.map(|b| b.to_string()).unwrap_or_default();
        let answer = self.http.request(method, path, &headers, bytes).await?;
        if !answer.status.is_success() {
            let text = String::from_utf8_lossy(&answer.body);
            bail!("{path} answered {}: {text}", answer.status);
        }
        serde_json::from_slice(&answer.body).with_context(|| format!("{path} sent no JSON"))
    }

    /// The event stream, behind the event of this number; 0: from the first that is kept.
    pub async fn events(&self, after: u64) -> Result<Events> {
        let bearer = self.bearer()?;
        let headers = [
            ("authorization", bearer.as_str()),
            ("accept", "text/event-stream"),
        ];
        let path = format!("/v1/events?after={after}");
        Ok(Events {
            lines: self.http.stream(&path, &headers).await?,
            number: after,
        })
    }

    /// Every event that there is and will be, each once and in its order, also over streams that break and daemons that
    /// restart. Ends only when `take` says `false`.
    pub async fn follow(&self, mut take: impl FnMut(Value) -> bool) {
        let mut seen = 0;
        loop {
            if let Ok(mut events) = self.events(seen).await {
                while let Ok(Some((number, event))) = events.next().await {
                    if number > seen {
                        seen = number;
                        if !take(event) {
                            return;
                        }
                    }
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// `POST path` with `len` bytes that come in pieces; the answer as JSON.
    pub async fn upload(
        &self,
        path: &str,
        len: u64,
        pieces: mpsc::Receiver<Bytes>,
    ) -> Result<Value> {
        let bearer = self.bearer()?;
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/octet-stream"),
        ];
        let answer = self.http.upload(path, &headers, len, pieces).await?;
        if !answer.status.is_success() {
            let text = String::from_utf8_lossy(&answer.body);
            bail!("{path} answered {}: {text}", answer.status);
        }
        serde_json::from_slice(&answer.body).with_context(|| format!("{path} sent no JSON"))
    }

    /// `GET path`, whose body comes in pieces.
    pub async fn download(&self, path: &str) -> Result<Pieces> {
        let bearer = self.bearer()?;
        let headers = [("authorization", bearer.as_str())];
        let pieces = self.http.download(path, &headers).await?;
        if !pieces.status.is_success() {
            bail!("{path} answered {}", pieces.status);
        }
        Ok(pieces)
    }

    fn bearer(&self) -> Result<String> {
        let token = std::fs::read_to_string(&self.token_file).context("no token file yet")?;
        Ok(format!("Bearer {}", token.trim()))
    }
}

/// A stream of events.
pub struct Events {
    lines: Lines,
    number: u64,
}

impl Events {
    /// The next event, with its number; `None` where the daemon ended the stream.
    pub async fn next(&mut self) -> Result<Option<(u64, Value)>> {
        while let Some(line) = self.lines.next().await? {
            if let Some(number) = line.strip_prefix("id:") {
                self.number = number.trim().parse().context("an id that is no number")?;
            } else if let Some(data) = line.strip_prefix("data:") {
                let event = serde_json::from_str(data).context("an event that is no JSON")?;
                return Ok(Some((self.number, event)));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::http::{HttpLimits, StatusCode, bind_loopback, respond, serve};
    use runtime::shutdown::Shutdown;

    /// A daemon whose streams break after two events, in the midst of a third, and begin one event too early.
    fn broken(query: &str) -> String {
        let after: u64 = query.trim_start_matches("after=").parse().unwrap();
        let mut text = String::new();
        for number in after.max(1)..after.max(1) + 3 {
            text += &format!("id: {number}\ndata: {{\"number\":{number}}}\n\n");
        }
        text + "id: 99\ndata: {\"numb"
    }

    #[tokio::test]
    async fn events_of_streams_that_break_come_once_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let token_file = folder.path().join("api.token");
        std::fs::write(&token_file, "secret\n").unwrap();
        let listener = bind_loopback(0).await.unwrap();
        let http = HttpClient::new(listener.local_addr().unwrap());
        let limits = HttpLimits::default();
        tokio::spawn(serve(
            listener,
            limits,
            Shutdown::manual(),
            |request| async move {
                let query = request.uri().query().unwrap_or_default();
                respond(StatusCode::OK, "text/event-stream", broken(query))
            },
        ));
        let api = Api { http, token_file };
        let mut numbers = Vec::new();
        api.follow(|event| {
            numbers.push(event["number"].as_u64().unwrap());
            numbers.len() < 7
        })
        .await;
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7]);
    }
}
