//! Documents that a command line is pointed at: a file, standard input, or what an authority hands out.
//!
//! Bytes only, with a limit; [`directory`] also verifies. What is signed needs no trust in where it comes from.

use anyhow::Context as _;
use directory::{DOCUMENT_MAX, Directory, Network, SignedDirectory};
use runtime::http_client::{HttpClient, StatusCode};
use std::io::Read;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Where a document and the network that it is of are found.
#[derive(clap::Args)]
pub(crate) struct KnownNetwork {
    /// The network.toml that signatures are checked by. By default that of the configuration, or
    /// network.toml here where there is no configuration.
    #[arg(long)]
    network: Option<PathBuf>,
    /// The configuration file of an authority.
    #[arg(long, default_value = "topology.toml")]
    pub(crate) config: PathBuf,
}

impl KnownNetwork {
    /// Reads it.
    pub(crate) fn read(&self) -> anyhow::Result<Network> {
        let path = match &self.network {
            Some(path) => path.clone(),
            None if self.config.exists() => crate::cli::load(&self.config)?.network,
            None => "network.toml".into(),
        };
        Ok(crate::read_network(&path)?)
    }
}

/// Reads at most `max` bytes from a file, from standard input (`-`), or by HTTP (`192.0.2.1:7800`,
/// `http://192.0.2.1:7800/v1/directory/12`; without a path, the newest directory).
pub(crate) async fn read(source: &str, max: usize) -> anyhow::Result<Vec<u8>> {
    let too_long = || format!("{source} has more than {max} bytes: it is no such document");
    if let Some((address, path)) = url(source)? {
        let mut http = HttpClient::new(address);
        http.body_max = max;
        let answer = http.get_packed(&path).await?;
        let text = String::from_utf8_lossy(&answer.body);
        let line: String = text.chars().take_while(|c| !c.is_control()).collect();
        anyhow::ensure!(
            answer.status == StatusCode::OK,
            "{address}{path} answered {}: {}",
            answer.status,
            line.chars().take(200).collect::<String>()
        );
        return Ok(answer.body.to_vec());
    }
    let mut bytes = Vec::new();
    let limit = max as u64 + 1;
    if source == "-" {
        let stdin = std::io::stdin().lock();
        stdin.take(limit).read_to_end(&mut bytes)?;
    } else {
        let file = std::fs::File::open(source).with_context(|| format!("cannot open {source}"))?;
        let read = file.take(limit).read_to_end(&mut bytes);
        read.with_context(|| format!("cannot read {source}"))?;
    }
    anyhow::ensure!(bytes.len() <= max, too_long());
    Ok(bytes)
}

/// A directory and its signatures, verified for `network`; whether it is still valid is not looked at.
pub(crate) async fn directory(
    source: &str,
    network: &Network,
) -> anyhow::Result<(SignedDirectory, Arc<Directory>)> {
    let bytes = read(source, DOCUMENT_MAX).await?;
    let named = || format!("{source} cannot be gone by");
    let signed = SignedDirectory::decode(&bytes)
        .map_err(directory::DirectoryRefused::Malformed)
        .with_context(named)?;
    let directory = signed.verify(network).with_context(named)?;
    Ok((signed, directory))
}

fn url(source: &str) -> anyhow::Result<Option<(SocketAddr, String)>> {
    const NEWEST: &str = "/v1/directory";
    if let Ok(address) = source.parse() {
        return Ok(Some((address, NEWEST.to_owned())));
    }
    let Some(rest) = source.strip_prefix("http://") else {
        return Ok(None);
    };
    let (address, path) = match rest.split_once('/') {
        Some((address, path)) if !path.is_empty() => (address, format!("/{path}")),
        Some((address, _)) => (address, NEWEST.to_owned()),
        None => (rest, NEWEST.to_owned()),
    };
    let address = address.parse().with_context(|| {
        format!("{source} does not begin with a literal address and a port: no name is resolved")
    })?;
    Ok(Some((address, path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_literal_and_files_are_everything_else() {
        let of = |source| url(source).unwrap();
        let address: SocketAddr = "192.0.2.1:7800".parse().unwrap();
        let newest = Some((address, "/v1/directory".to_owned()));
        assert_eq!(of("192.0.2.1:7800"), newest);
        assert_eq!(of("http://192.0.2.1:7800"), newest);
        assert_eq!(of("http://192.0.2.1:7800/"), newest);
        let one = Some((address, "/v1/directory/12".to_owned()));
        assert_eq!(of("http://192.0.2.1:7800/v1/directory/12"), one);
        assert_eq!(of("directory-0"), None);
        assert_eq!(of("-"), None);
        assert!(url("http://authority.example:7800").is_err());
        assert!(url("http://192.0.2.1").is_err());
    }

    #[tokio::test]
    async fn a_file_that_is_too_long_is_not_read_whole() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f");
        std::fs::write(&file, [7; 100]).unwrap();
        let name = file.to_str().unwrap();
        assert_eq!(read(name, 100).await.unwrap().len(), 100);
        let error = read(name, 99).await.unwrap_err().to_string();
        assert!(error.contains("more than 99 bytes"), "{error}");
        let error = read("no such file", 99).await.unwrap_err().to_string();
        assert!(error.contains("cannot open no such file"), "{error}");
    }
}
