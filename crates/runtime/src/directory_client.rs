//! A node's side of talking to an authority: bytes out, bytes in.
//!
//! Plain HTTP/1.1, because every document is signed; checking the signatures is
//! `crates/directory`'s. Routes: `docs/spec/directory.md`.

use crate::http_client::{ACCEPT_GZIP, Answer, HttpClient, HttpClientError, Method, StatusCode};
use crate::node::peer_clocks::{PeerClocks, TIME_HEADER};
use bytes::Bytes;
use std::net::SocketAddr;
use wire::ids::Epoch;
use wire::time::UnixTime;

/// Why an authority did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryClientError {
    /// No answer.
    #[error(transparent)]
    Http(#[from] HttpClientError),
    /// It refused; the text is its reason.
    #[error("the authority answered {status}: {reason}")]
    Refused {
        /// Its status.
        status: StatusCode,
        /// At most the first line, cut to 200 characters.
        reason: String,
    },
}

/// Talks to one authority.
#[derive(Clone)]
pub struct DirectoryClient {
    http: HttpClient,
    /// Where the authority's clock is compared with ours, and its number there.
    clocks: Option<(PeerClocks, usize)>,
}

impl DirectoryClient {
    /// The authority at `address`.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            http: HttpClient::new(address),
            clocks: None,
        }
    }

    /// The same; every answer is compared with our clock as that of authority `number`.
    pub fn comparing(address: SocketAddr, clocks: &PeerClocks, number: usize) -> Self {
        Self {
            clocks: Some((clocks.clone(), number)),
            ..Self::new(address)
        }
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Answer, HttpClientError> {
        let asked = self.clocks.as_ref().map(|(clocks, _)| clocks.unix());
        let answer = self.http.request(method, path, headers, body).await?;
        let time = answer
            .headers
            .get(TIME_HEADER)
            .and_then(|v| v.to_str().ok());
        let theirs = time.and_then(|text| text.parse().ok()).map(UnixTime);
        if let (Some((clocks, number)), Some(asked), Some(theirs)) = (&self.clocks, asked, theirs) {
            clocks.compare(*number, asked, theirs);
        }
        Ok(answer)
    }

    /// Hands in this node's signed descriptor.
    pub async fn upload(&self, descriptor: &[u8]) -> Result<(), DirectoryClientError> {
        self.post("/v1/descriptor", descriptor).await
    }

    /// Hands in this node's signed report on its loops.
    pub async fn report(&self, report: &[u8]) -> Result<(), DirectoryClientError> {
        self.post("/v1/report", report).await
    }

    async fn post(&self, path: &str, body: &[u8]) -> Result<(), DirectoryClientError> {
        let body = Bytes::copy_from_slice(body);
        let headers = [("content-type", "application/octet-stream")];
        let answer = self.ask(Method::POST, path, &headers, body).await?;
        if answer.status.is_success() {
            Ok(())
        } else {
            Err(refused(answer.status, &answer.body))
        }
    }

    /// The signed directory of `epoch`, or the newest one; `None` when there is none (yet).
    pub async fn fetch(&self, epoch: Option<Epoch>) -> Result<Option<Bytes>, DirectoryClientError> {
        let path = match epoch {
            Some(epoch) => format!("/v1/directory/{epoch}"),
            None => "/v1/directory".to_owned(),
        };
        let answer = self
            .ask(Method::GET, &path, &[ACCEPT_GZIP], Bytes::new())
            .await?;
        match answer.status {
            StatusCode::OK => Ok(Some(answer.body)),
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(refused(status, &answer.body)),
        }
    }
}

fn refused(status: StatusCode, body: &[u8]) -> DirectoryClientError {
    let text = String::from_utf8_lossy(body);
    let line = text.lines().next().unwrap_or_default();
    // What a stranger wrote may end in a log or on a terminal.
    let reason = line.chars().filter(|c| !c.is_control()).take(200).collect();
    DirectoryClientError::Refused { status, reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{self, HttpLimits, Request};
    use crate::shutdown::Shutdown;
    use std::time::Duration;

    /// Takes the descriptor `good`, has the directories 7 and (newest) 8.
    async fn authority() -> DirectoryClient {
        let listener = http::bind_loopback(0).await.unwrap();
        let client = DirectoryClient::new(listener.local_addr().unwrap());
        let handler = |request: Request| async {
            let path = request.uri().path().to_owned();
            let is_post = request.method() == Method::POST;
            let body = http::read_body(request.into_body(), Duration::from_secs(5)).await;
            match (path.as_str(), is_post) {
                ("/v1/descriptor", true) if body.unwrap() == "good" => {
                    http::text(StatusCode::ACCEPTED, "")
                }
                ("/v1/descriptor", true) => {
                    http::text(StatusCode::BAD_REQUEST, "bad \x1b[2Jsignature\nmore")
                }
                ("/v1/directory/7", false) => http::text(StatusCode::OK, "seven"),
                ("/v1/directory", false) => http::text(StatusCode::OK, "eight"),
                _ => http::text(StatusCode::NOT_FOUND, ""),
            }
        };
        let (limits, shutdown) = (HttpLimits::default(), Shutdown::manual());
        tokio::spawn(http::serve(listener, limits, shutdown, handler));
        client
    }

    #[tokio::test]
    async fn descriptors_go_and_directories_come() {
        let client = authority().await;
        client.upload(b"good").await.unwrap();
        let text = client.upload(b"bad").await.unwrap_err().to_string();
        assert!(
            text.ends_with("400 Bad Request: bad [2Jsignature"),
            "{text}"
        );
        assert_eq!(
            client.fetch(Some(Epoch(7))).await.unwrap().unwrap(),
            "seven"
        );
        assert_eq!(client.fetch(None).await.unwrap().unwrap(), "eight");
        assert!(client.fetch(Some(Epoch(9))).await.unwrap().is_none());
    }
}
