//! Directories packed for the way: each once, however many ask for it.

use crate::eventloop::Found;
use bytes::Bytes;
use hyper::header::{ACCEPT_ENCODING, HeaderMap};
use runtime::gzip;
use std::sync::{Arc, Mutex, PoisonError};
use wire::ids::DirectoryHash;

/// So many are kept: those of this epoch and of the next.
const KEPT: usize = 2;

/// The newest packed directories.
#[derive(Clone, Default)]
pub(crate) struct Packed(Arc<Mutex<Vec<(DirectoryHash, Bytes)>>>);

impl Packed {
    /// A directory by gzip; `None` where that saves nothing. Who asks while it is packed waits: some
    /// ten milliseconds for a thousand nodes.
    pub(crate) fn of(&self, found: &Found) -> Option<Bytes> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = match kept.iter().find(|(hash, _)| *hash == found.hash) {
            Some((_, bytes)) => bytes.clone(),
            None => {
                let bytes = Bytes::from(gzip::pack(&found.document)?);
                kept.truncate(KEPT - 1);
                kept.insert(0, (found.hash, bytes.clone()));
                bytes
            }
        };
        (bytes.len() < found.document.len()).then_some(bytes)
    }
}

/// Whether a request's `Accept-Encoding` names gzip and does not refuse it (RFC 9110, section 12.5.3).
pub(crate) fn takes_gzip(headers: &HeaderMap) -> bool {
    let named = headers.get_all(ACCEPT_ENCODING).iter();
    named
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| {
            let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
            let weight = weight.trim().strip_prefix("q=").map(str::parse::<f32>);
            let refused = weight.is_some_and(|q| !q.is_ok_and(|q| q > 0.0));
            name.trim().eq_ignore_ascii_case("gzip") && !refused
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_to_who_takes_it() {
        let takes = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, value.parse().unwrap());
            takes_gzip(&headers)
        };
        for value in ["gzip", "br, GZIP", "deflate;q=1, gzip;q=0.5", "gzip; q=1"] {
            assert!(takes(value), "{value}");
        }
        for value in [
            "",
            "br",
            "gzip;q=0",
            "gzip; q=0.000",
            "gzip;q=x",
            "gzipped",
            "*",
        ] {
            assert!(!takes(value), "{value}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    #[test]
    fn each_is_packed_once_and_two_are_kept() {
        let packed = Packed::default();
        let found = |n: u8| Found {
            hash: DirectoryHash([n; 32]),
            document: vec![n; 1000].into(),
        };
        let first = packed.of(&found(1)).unwrap();
        assert_eq!(gzip::unpack(&first, 1000), Some(vec![1; 1000]));
        for n in 2..5 {
            packed.of(&found(n)).unwrap();
        }
        assert_eq!(packed.0.lock().unwrap().len(), KEPT);
        let short = Found {
            hash: DirectoryHash([9; 32]),
            document: [1, 2].into(),
        };
        assert!(packed.of(&short).is_none(), "it would be longer");
    }
}
