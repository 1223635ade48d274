//! A client's loopback API, as an application uses it.

use crate::plan::Planned;
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use runtime::http_client::{HttpClient, Lines, Method, Pieces};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc;

/// Talks to one clientd.
pub struct Api {
    http: HttpClient,
    token_file: PathBuf,
}

impl Api {
    /// The API of a planned client.
    pub fn new(client: &Planned) -> Result<Self> {
        let mut http = HttpClient::new(client.api.context("only clients have an API")?);
        http.timeout = Duration::from_secs(5);
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

    /// The event stream, from the first event kept.
    pub async fn events(&self) -> Result<Lines> {
        let bearer = self.bearer()?;
        let headers = [
            ("authorization", bearer.as_str()),
            ("accept", "text/event-stream"),
        ];
        Ok(self.http.stream("/v1/events?after=0", &headers).await?)
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
