//! Where the API listens: TCP at loopback (or with TLS beyond it), and a Unix socket. Not here: who may
//! ask there (`crate::api`).

use crate::api::{self, Api, Names};
use crate::config::Config;
use runtime::http::{self, Listener, ServerTls};
use runtime::node::NodeError;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// The socket's name in the data folder.
pub(crate) const SOCKET_FILE: &str = "api.sock";
/// Longest path of a Unix socket in bytes.
const SOCKET_PATH_MAX: usize = 107;

/// Sockets that listen and are not served yet.
pub(crate) struct Listeners {
    /// Of the first TCP listener.
    pub(crate) address: SocketAddr,
    all: Vec<(Listener, Names)>,
    socket: Option<PathBuf>,
}

impl Listeners {
    /// Whoever calls holds the lock of the data folder.
    pub(crate) async fn open(config: &Config) -> Result<Self, NodeError> {
        let tcp = http::bind(config.api).await?;
        let address = tcp.local_addr()?;
        let mut all = Vec::new();
        match &config.api_tls {
            Some(tls) => {
                let made = ServerTls::from_files(&tls.certificate, &tls.key)
                    .map_err(|error| NodeError::value("api_tls", error.to_string()))?;
                let names = Names::Others(address.port(), tls.names.clone());
                all.push((Listener::Tls(tcp, made), names));
            }
            None => {
                all.push((tcp.into(), Names::Loopback(address.port())));
                if address.ip() == Ipv4Addr::LOCALHOST {
                    let second = SocketAddr::from((Ipv6Addr::LOCALHOST, address.port()));
                    // A machine without IPv6 has none.
                    if let Ok(tcp) = http::bind(second).await {
                        all.push((tcp.into(), Names::Loopback(address.port())));
                    }
                }
            }
        }
        let socket = match &config.api_socket {
            Some(path) => Some(path.clone()),
            None => default_socket(config),
        };
        if let Some(path) = &socket {
            all.push((http::bind_unix(path)?.into(), Names::Socket));
        }
        Ok(Self {
            address,
            all,
            socket,
        })
    }

    /// Serves all of them until the shutdown.
    pub(crate) fn serve(self, api: Arc<Api>) -> Vec<JoinHandle<()>> {
        let mut tasks = Vec::new();
        for (listener, names) in self.all {
            tasks.push(tokio::spawn(api::serve(listener, names, api.clone())));
        }
        let (socket, shutdown) = (self.socket, api.shutdown.clone());
        tasks.push(tokio::spawn(async move {
            shutdown.wait().await;
            if let Some(path) = socket {
                // Gone is gone, whoever removed it.
                let _ = std::fs::remove_file(path);
            }
        }));
        tasks
    }
}

fn default_socket(config: &Config) -> Option<PathBuf> {
    let path = config.data_dir.join(SOCKET_FILE);
    if path.as_os_str().len() > SOCKET_PATH_MAX {
        tracing::warn!("the data folder's path is too long for a socket in it; see api_socket");
        return None;
    }
    Some(path)
}
