//! Puts the client together: opens everything, starts the tasks, waits for the end.
//!
//! ```text
//!   gateway ◀──TLS── uplink ◀── eventloop ◀──▶ api ◀──HTTP── applications
//!   gateway ──TLS──▶ link  ───▶     │
//!                      └▶ directories ┘        storage (a thread)
//! ```

use crate::api::{Api, ApiLimits};
use crate::commands::COMMANDS_MAX;
use crate::config::Config;
use crate::directories::{Compared, Directories, Offered};
use crate::entry::Entries;
use crate::eventloop::{DirectoryNews, EventLoop, Inputs, Offer, State};
use crate::files::writing::Hand;
use crate::files::{self, Files};
use crate::history::{EventReader, History, HistoryLimits};
use crate::link::{Dialler, Outlets};
use crate::listeners::Listeners;
use crate::storage::{SharedStore, Storage};
use crate::token::{Announcement, Token};
use crate::uplink::{self, Uplink};
use crate::vault::key::Unlock;
use crate::vault::{self, Opened};
use directory::{Directory, Network};
use messaging::{Messenger, MessengerConfig};
use mizzle_core::client::{Client, ClientConfig, ClientSeeds};
use runtime::clock::Clock;
use runtime::data_dir::DataDir;
use runtime::entropy::Entropy;
use runtime::http;
use runtime::link::ClientTls;
use runtime::metrics::{self, NodeMetrics};
use runtime::node::NodeError;
use runtime::node::foundation::read_network;
use runtime::shutdown::Shutdown;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::StoreError;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use wire::frame::DirectoryPart;
use wire::ids::{DirectoryHash, Epoch, SessionAddress};

/// Uploads and files that came.
const FILES_FOLDER: &str = "files";
/// Frames and pieces between tasks. The gateway's constant rate fills no more in a second.
const QUEUE: usize = 64;

/// A running client.
pub(crate) struct Daemon {
    #[cfg_attr(not(test), expect(dead_code, reason = "tests ask where it listens"))]
    pub(crate) address: SocketAddr,
    eventloop: JoinHandle<Result<(), StoreError>>,
    servers: Vec<JoinHandle<()>>,
    shutdown: Shutdown,
    /// Whether a person wants everything wiped at the end.
    wipe: Arc<AtomicBool>,
    announcement: Announcement,
    dir: DataDir,
}

impl Daemon {
    /// Opens everything, then starts to talk.
    pub(crate) async fn start(
        config: &Config,
        unlock: &Unlock,
        shutdown: Shutdown,
    ) -> Result<Self, NodeError> {
        let network = Arc::new(read_network(&config.network)?);
        let dir = DataDir::open(&config.data_dir)?;
        // The port before all else: a second start must change nothing.
        let listeners = Listeners::open(config).await?;
        let address = listeners.address;
        let parts = Parts::open(config, (&dir, unlock), network)?;
        let metrics = NodeMetrics::default();
        serve_metrics(config, &metrics, &shutdown).await?;
        let token = Token::new(&*Entropy::os().seed()?);
        let announcement = Announcement::write(&dir, address, &token)?;
        let (commands, asked) = mpsc::channel(COMMANDS_MAX);
        let (files, clock) = (parts.files.clone(), parts.clock);
        let (eventloop, events) = parts.start(config, metrics, asked, shutdown.clone())?;
        let wipe = Arc::new(AtomicBool::new(false));
        let api = Api {
            commands,
            events,
            files,
            token,
            clock,
            shutdown: shutdown.clone(),
            limits: ApiLimits {
                connections_max: config.limits.connections_max,
                file_max: config.limits.file_max,
            },
            streams: Arc::new(Semaphore::new(config.limits.streams_max)),
            wipe: wipe.clone(),
            requests: AtomicU64::new(1),
            prefix: directory::hex::encode(&Entropy::os().seed()?[..4]),
            failures: Mutex::new(None),
        };
        let servers = listeners.serve(Arc::new(api));
        tracing::info!(%address, "the API listens");
        Ok(Self {
            address,
            eventloop,
            servers,
            shutdown,
            wipe,
            announcement,
            dir,
        })
    }

    /// Until the shutdown; everything that was accepted is durable then.
    pub(crate) async fn wait(self) -> Result<(), NodeError> {
        let result = self.eventloop.await;
        self.shutdown.trigger();
        for server in self.servers {
            let _ = server.await;
        }
        drop(self.announcement);
        if self.wipe.load(Ordering::Relaxed) {
            return vault::destroy(self.dir);
        }
        match result {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(NodeError::Ended(error.to_string())),
            Err(error) => Err(NodeError::Ended(format!("the event loop ended: {error}"))),
        }
    }
}

/// What is opened before anything runs.
struct Parts {
    clock: Clock,
    network: Arc<Network>,
    entries: Entries,
    newest: watch::Sender<Option<Arc<Directory>>>,
    directories: Directories,
    store: SharedStore,
    files: Files,
    history: History,
    messenger: Messenger,
    degraded: Option<String>,
}

impl Parts {
    fn open(
        config: &Config,
        (dir, unlock): (&DataDir, &Unlock),
        network: Arc<Network>,
    ) -> Result<Self, NodeError> {
        let clock = Clock::start();
        let directories = Directories::open(dir, network.clone())?;
        let known = directories.usable(clock.unix()).pop();
        let newest = directories.newest().filter(|_| known.is_none());
        if let Some(newest) = newest {
            tracing::warn!(
                epoch = %newest.epoch,
                "the kept directory is too old to go by: nothing is sent until the entry gateway brings a newer \
                 one; if it does not, check this machine's clock"
            );
        }
        let (newest, followed) = watch::channel(known);
        let entries = Entries::open(config, dir, network.clone(), followed, clock.unix())?;
        let Opened {
            store,
            messenger,
            degraded,
        } = vault::open(
            dir,
            unlock,
            &messenger_config(config, &network),
            clock.unix(),
        )?;
        let history = History::restore(&store, history_limits(config), config.owner_listens)
            .map_err(|error| NodeError::Ended(error.to_string()))?;
        let store = SharedStore::new(store);
        let files = open_files(config, dir, store.clone())?;
        Ok(Self {
            clock,
            network,
            entries,
            newest,
            directories,
            store,
            files,
            history,
            messenger,
            degraded,
        })
    }

    /// Starts every task but the API's.
    fn start(
        self,
        config: &Config,
        metrics: NodeMetrics,
        commands: mpsc::Receiver<crate::commands::Command>,
        shutdown: Shutdown,
    ) -> Result<(JoinHandle<Result<(), StoreError>>, EventReader), NodeError> {
        let Self {
            clock,
            network,
            mut entries,
            newest,
            directories,
            store,
            files,
            history,
            messenger,
            degraded,
        } = self;
        let entry = entries.current(clock.unix())?;
        let seeds = seeds(config)?;
        let (session, traffic) = (seeds.session.clone(), seeds.traffic.clone());
        let anchor = clock.anchor();
        let mut client = Client::new(client_config(config, &network), entry.id, anchor, seeds);
        for directory in directories.usable(anchor.unix) {
            client.handle_directory(directory, anchor, anchor.instant);
        }
        let (durable, followed) = watch::channel(history.durable());
        let (file_orders, news, file_news) = files::reading::start(&files)?;
        let hand = Hand::new(files.clone());
        let (storage, committed) = Storage::start(store.clone(), hand, news)?;
        let dialler = Dialler {
            tls: ClientTls::new().with_source(config.source_address),
            network: *network.id(),
            clock,
            entries,
            newest: newest.subscribe(),
            session,
            traffic,
        };
        let links = start_link(dialler);
        let (frames, due) = mpsc::channel(uplink::QUEUE_MAX);
        let uplink = Uplink {
            clock,
            frames: due,
            links: links.writers,
            broken: links.broken,
            metrics: metrics.clone(),
        };
        uplink.start()?;
        let (news, directory_news) = mpsc::channel(QUEUE);
        let (others, other_documents) = mpsc::channel(OTHERS_MAX);
        let follow = Follow { newest, news };
        let state = State::of(degraded, &directories);
        let offers = Offers {
            parts: links.parts,
            others: other_documents,
        };
        tokio::spawn(follow.run(directories, offers, clock));
        let eventloop = EventLoop {
            clock,
            client,
            messenger,
            history,
            storage,
            files,
            file_orders,
            uplink: frames,
            others,
            durable,
            metrics,
            limits: config.limits.clone(),
            name: config.name.clone(),
            entry_pinned: config.entry.is_some(),
            state,
        };
        let inputs = Inputs {
            link: links.events,
            directories: directory_news,
            commands,
            committed,
            file_news,
            shutdown,
        };
        let running = tokio::spawn(eventloop.run(inputs));
        Ok((running, EventReader::new(store, followed)))
    }
}

fn history_limits(config: &Config) -> HistoryLimits {
    let limits = &config.limits;
    HistoryLimits {
        events: limits.events_max,
        bytes: limits.events_bytes_max,
        age: Duration::from_secs(limits.events_days_max * 86_400),
    }
}

fn open_files(config: &Config, dir: &DataDir, rows: SharedStore) -> Result<Files, NodeError> {
    let (folder, limit) = (dir.file(FILES_FOLDER), config.limits.files_bytes_max);
    Files::open(&folder, limit, rows, Entropy::os().key_rng()?)
        .map_err(|error| NodeError::Ended(format!("{}: {error}", folder.display())))
}

/// The link's other ends.
struct Links {
    events: mpsc::Receiver<crate::link::LinkEvent>,
    parts: mpsc::Receiver<DirectoryPart>,
    writers: mpsc::Receiver<Option<runtime::link::FrameWriter>>,
    broken: Arc<Notify>,
}

fn start_link(dialler: Dialler) -> Links {
    let (event_sender, events) = mpsc::channel(QUEUE);
    let (part_sender, parts) = mpsc::channel(QUEUE);
    let (writer_sender, writers) = mpsc::channel(2);
    let broken = Arc::new(Notify::new());
    let outlets = Outlets {
        clock: dialler.clock,
        events: event_sender,
        parts: part_sender,
        uplink: writer_sender,
        broken: broken.clone(),
    };
    tokio::spawn(dialler.run(outlets));
    Links {
        events,
        parts,
        writers,
        broken,
    }
}

/// Documents of other gateways that wait to be compared; the client fetches one at a time.
const OTHERS_MAX: usize = 2;

/// What is to be verified beside the loop.
struct Offers {
    /// Pieces from the entry gateway.
    parts: mpsc::Receiver<DirectoryPart>,
    /// Documents that other gateways go by.
    others: mpsc::Receiver<Offer>,
}

/// Takes pieces of directories beside the loop.
struct Follow {
    /// For whoever dials.
    newest: watch::Sender<Option<Arc<Directory>>>,
    news: mpsc::Sender<DirectoryNews>,
}

impl Follow {
    async fn run(self, mut directories: Directories, mut offers: Offers, clock: Clock) {
        loop {
            let work = tokio::select! {
                Some(part) = offers.parts.recv() => tokio::task::spawn_blocking(move || {
                    // Read now: the wait for a part may have lasted an epoch.
                    let offered = directories.handle_part(part, clock.unix());
                    (directories, Found::Offered(offered))
                }),
                Some(other) = offers.others.recv() => tokio::task::spawn_blocking(move || {
                    let hash = other.document.hash();
                    let compared = directories.compare(other.epoch, other.document);
                    (directories, Found::Compared(other.epoch, hash, compared))
                }),
                else => return,
            };
            let Ok((back, found)) = work.await else {
                tracing::error!("verifying a directory panicked; no more directories are taken");
                return;
            };
            directories = back;
            for news in self.news_of(found) {
                if self.news.send(news).await.is_err() {
                    return;
                }
            }
        }
    }

    fn news_of(&self, found: Found) -> Vec<DirectoryNews> {
        match found {
            Found::Offered(Offered::Nothing) => Vec::new(),
            Found::Offered(Offered::New(directory)) => {
                vec![DirectoryNews::New(self.taken(directory))]
            }
            Found::Offered(Offered::Refused(why)) => vec![refused(why)],
            Found::Offered(Offered::Contradicts(why, proven)) => {
                vec![refused(why), DirectoryNews::Split(proven)]
            }
            Found::Compared(epoch, hash, compared) => match compared {
                Compared::Proven(proven) => vec![
                    DirectoryNews::Settled(epoch, hash),
                    DirectoryNews::Split(proven),
                ],
                Compared::Known => vec![DirectoryNews::Settled(epoch, hash)],
                Compared::Nothing(why) => vec![DirectoryNews::Unproven(why)],
            },
        }
    }

    fn taken(&self, directory: Arc<Directory>) -> Arc<Directory> {
        tracing::info!(epoch = %directory.epoch, "a new directory");
        self.newest.send_replace(Some(directory.clone()));
        directory
    }
}

/// What was found beside the loop.
enum Found {
    Offered(Offered),
    Compared(Epoch, DirectoryHash, Compared),
}

fn refused(why: String) -> DirectoryNews {
    tracing::warn!(%why, "a directory from the entry gateway is refused");
    DirectoryNews::Refused(why)
}

fn client_config(config: &Config, network: &Network) -> ClientConfig {
    ClientConfig {
        outbox_max: config.limits.outbox_max,
        // A contact has up to two inboxes in each of up to three periods; cards have two.
        inboxes_max: config.limits.contacts_max * 6 + 64,
        ..ClientConfig::new(network.schedule())
    }
}

fn messenger_config(config: &Config, network: &Network) -> MessengerConfig {
    MessengerConfig {
        contacts_max: config.limits.contacts_max,
        files_at_once: config.limits.files_at_once,
        ..MessengerConfig::new(*network.id())
    }
}

/// Keys are always random: a fixed seed would name two messages alike after a restart.
fn seeds(config: &Config) -> Result<ClientSeeds, NodeError> {
    let fixed = config.test_seed.as_ref().and_then(|seed| seed.value());
    let mut random = Entropy::os();
    Ok(ClientSeeds {
        traffic: Entropy::from_option(fixed).traffic_rng()?,
        keys: random.key_rng()?,
        session: SessionAddress::from_random(*random.seed()?),
    })
}

async fn serve_metrics(
    config: &Config,
    node: &NodeMetrics,
    shutdown: &Shutdown,
) -> Result<(), NodeError> {
    let Some(address) = config.metrics else {
        return Ok(());
    };
    let listener = http::bind(address).await?;
    let mut registry = prometheus_client::registry::Registry::default();
    node.register(&mut registry);
    tokio::spawn(metrics::serve(
        listener,
        Arc::new(registry),
        shutdown.clone(),
    ));
    Ok(())
}
