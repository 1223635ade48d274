//! The command line: `topology init | run | status | show | diff | verify | admit | ban`.

use crate::allow::{self, Admission, Changes};
use crate::config::Config;
use crate::diff::diff;
use crate::show::{self, Operators};
use crate::source::{self, KnownNetwork};
use crate::status::Status;
use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use directory::{EpochSchedule, Network, NetworkAuthority, Role, hex};
use runtime::clock::Clock;
use runtime::config::{ConfigError, exit};
use runtime::data_dir::write_atomic;
use runtime::entropy::Entropy;
use runtime::http_client::HttpClient;
use runtime::shutdown::Shutdown;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use wire::ids::NetworkId;

const EXAMPLE: &str = include_str!("../topology.example.toml");

/// The directory authority of a Mizzle network.
#[derive(Parser)]
#[command(name = "topology", version)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Args)]
struct ConfigFile {
    /// The configuration file.
    #[arg(long, default_value = "topology.toml")]
    config: PathBuf,
}

#[derive(Subcommand)]
enum Verb {
    /// Make what is missing of configuration, identity key and network.toml; print the identity.
    Init {
        #[command(flatten)]
        file: ConfigFile,
        /// Length of an epoch in a new network.toml, in seconds.
        #[arg(long, default_value_t = 3600)]
        epoch_seconds: u64,
    },
    /// Run until SIGINT or SIGTERM.
    Run {
        #[command(flatten)]
        file: ConfigFile,
        /// Read and check the configuration and the files it names, and end.
        #[arg(long)]
        check_config: bool,
        /// End when this process' parent ends.
        #[arg(long, num_args = 0..=1, require_equals = true, value_name = "PID",
              default_missing_value = "0")]
        die_with_parent: Option<u32>,
    },
    /// Ask a running authority how it is.
    Status {
        #[command(flatten)]
        file: ConfigFile,
        /// For programs.
        #[arg(long)]
        json: bool,
    },
    /// Say what a directory, or a proof that authorities cheated, proves; needs only network.toml.
    Verify {
        /// A signed directory, a client's `split-….proof`, or an authority's `….proof`: a file, `-`, or an address as
        /// for `show`.
        file: String,
        /// Whose authorities are asked about.
        #[arg(long, default_value = "network.toml")]
        network: PathBuf,
    },
    /// Show a directory: who is in which layer, at which addresses and rates.
    Show {
        /// A file, `-`, or an authority as in 192.0.2.1:7800 or http://192.0.2.1:7800/v1/directory/12; by
        /// default the newest directory of the authority of the configuration.
        source: Option<String>,
        #[command(flatten)]
        known: KnownNetwork,
        /// For programs.
        #[arg(long, conflicts_with = "html")]
        json: bool,
        /// One page with a map, which loads nothing from anywhere; to standard output.
        #[arg(long)]
        html: bool,
    },
    /// Say what changed from one directory to another: who joined, left and moved, keys, parameters.
    Diff {
        /// As for `show`.
        old: String,
        /// As for `show`.
        new: String,
        #[command(flatten)]
        known: KnownNetwork,
        /// For programs.
        #[arg(long)]
        json: bool,
    },
    /// Take a node on the allow-list. An authority that runs goes by it from its next ballot on.
    Admit {
        /// What the node's `join` printed: the text itself, a file with it, or `-`.
        request: String,
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Take a node off the allow-list, also one of the configuration. `admit` takes it back.
    Ban {
        /// Its identity or id in hex, or the first digits of it, at least 8.
        node: String,
        #[command(flatten)]
        file: ConfigFile,
    },
}

/// The whole program: `arguments` as from [`std::env::args_os`], the name in front.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // A broken pipe is all that can go wrong here.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1));
        }
    };
    let done = match arguments.verb {
        Verb::Init {
            file,
            epoch_seconds,
        } => init(&file.config, Duration::from_secs(epoch_seconds)),
        Verb::Run {
            file,
            check_config: true,
            ..
        } => check_config(&file.config),
        Verb::Run {
            file,
            check_config: false,
            die_with_parent,
        } => load(&file.config).and_then(|c| in_runtime(run(c, die_with_parent))),
        Verb::Status { file, json } => load(&file.config).and_then(|c| in_runtime(status(c, json))),
        Verb::Verify { file, network } => in_runtime(verify(file, network)),
        Verb::Show {
            source,
            known,
            json,
            html,
        } => in_runtime(show_directory(source, known, json, html)),
        Verb::Diff {
            old,
            new,
            known,
            json,
        } => in_runtime(show_diff(old, new, known, json)),
        Verb::Admit { request, file } => load(&file.config).and_then(|c| admit(&c, &request)),
        Verb::Ban { node, file } => load(&file.config).and_then(|c| ban(&c, &node)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "topology: {}", in_one_line(&error));
            let wrong_config = error.downcast_ref::<ConfigError>().is_some();
            let code = if wrong_config {
                exit::CONFIG
            } else {
                exit::FAILED
            };
            ExitCode::from(u8::try_from(code).unwrap_or(1))
        }
    }
}

/// The chain of causes; those that say what stands there already are left out.
fn in_one_line(error: &anyhow::Error) -> String {
    error
        .chain()
        .map(ToString::to_string)
        .fold(String::new(), |line, cause| {
            if line.contains(&cause) {
                line
            } else if line.is_empty() {
                cause
            } else {
                format!("{line}: {cause}")
            }
        })
}

pub(crate) fn load(path: &Path) -> anyhow::Result<Config> {
    let config: Config = runtime::config::load(Some(path), "topology")?;
    config.check()?;
    Ok(config)
}

fn check_config(path: &Path) -> anyhow::Result<()> {
    let config = load(path)?;
    let admitted = allow::admitted(&config, &Changes::read(&config.data_dir)?)?;
    config.authority(crate::read_network(&config.network)?, admitted)?;
    say(&format!("{} is fine.", path.display()))
}

fn init(path: &Path, epoch: Duration) -> anyhow::Result<()> {
    if !path.exists() {
        write_atomic(path, EXAMPLE.as_bytes())?;
        say(&format!("wrote {}", path.display()))?;
    }
    let config = load(path)?;
    let identity = crate::identity(&config)?;
    say(&format!("identity {}", hex::encode(&identity.to_bytes())))?;
    if config.network.exists() {
        let listed = crate::read_network(&config.network)?.authority_index(&identity);
        let path = config.network.display();
        return match listed {
            Some(_) => say(&format!("{path} is there already and lists this authority")),
            None => anyhow::bail!("{path} is there already and does not list this authority"),
        };
    }
    let schedule = EpochSchedule {
        genesis: Clock::start().unix(),
        length: epoch,
    };
    let authority = NetworkAuthority {
        identity,
        address: config.listen,
    };
    let id = Entropy::os().seed().context("cannot draw a network id")?;
    let mut network = Network::new(NetworkId(*id), schedule, vec![authority], 1, Vec::new())?;
    if directory::is_public(&config.listen) {
        network = network.with_public_addresses()?;
    }
    write_atomic(&config.network, network.to_toml().as_bytes())?;
    say(&format!(
        "wrote {}: add [[bootstrap]] gateways and give it to everybody",
        config.network.display()
    ))
}

async fn run(config: Config, parent: Option<u32>) -> anyhow::Result<()> {
    runtime::logging::init(&config.log)?;
    let shutdown = Shutdown::on_signals()?;
    if let Some(parent) = parent {
        let ours = std::os::unix::process::parent_id();
        shutdown.follow_parent(if parent == 0 { ours } else { parent });
    }
    crate::run(config, shutdown).await
}

async fn status(config: Config, json: bool) -> anyhow::Result<()> {
    let answer = HttpClient::new(config.listen).get("/v1/status").await;
    let answer = answer.context("is the authority running? Start it with `topology run`")?;
    anyhow::ensure!(answer.status.is_success(), "it answered {}", answer.status);
    if json {
        return say(&String::from_utf8_lossy(&answer.body));
    }
    let status: Status = serde_json::from_slice(&answer.body)
        .context("the authority that runs is of another version; `--json` shows what it says")?;
    say(status.in_words().trim_end())
}

async fn verify(file: String, network: PathBuf) -> anyhow::Result<()> {
    let network = crate::read_network(&network)?;
    let now = Clock::start().unix();
    say(crate::verify::document(&file, &network, now)
        .await?
        .trim_end())
}

async fn show_directory(
    source: Option<String>,
    known: KnownNetwork,
    json: bool,
    html: bool,
) -> anyhow::Result<()> {
    let network = known.read()?;
    let source = match source {
        Some(source) => source,
        None => load(&known.config)?.listen.to_string(),
    };
    let (signed, directory) = source::directory(&source, &network).await?;
    let shown = show::shown(&signed, &directory, &network, &operators(&known.config));
    let now = Clock::start().unix();
    if json {
        return say(&serde_json::to_string_pretty(&shown)?);
    }
    let text = match html {
        true => show::page(&shown, now),
        false => shown.in_words(now),
    };
    say(text.trim_end())
}

async fn show_diff(
    old: String,
    new: String,
    known: KnownNetwork,
    json: bool,
) -> anyhow::Result<()> {
    let network = known.read()?;
    let (_, old) = source::directory(&old, &network).await?;
    let (_, new) = source::directory(&new, &network).await?;
    let diff = diff(&old, &new, &operators(&known.config));
    if json {
        return say(&serde_json::to_string_pretty(&diff)?);
    }
    say(diff.in_words().trim_end())
}

/// Names that this machine's allow-list knows; none where there is no authority.
fn operators(config: &Path) -> Operators {
    let known = load(config).and_then(|config| {
        let changes = Changes::read(&config.data_dir)?;
        Ok(allow::operators(&config, &changes))
    });
    known.unwrap_or_default()
}

const TAKES_EFFECT: &str =
    "An authority that runs reads this within a second and goes by it from its next ballot on.";

fn admit(config: &Config, request: &str) -> anyhow::Result<()> {
    let network = crate::read_network(&config.network)?;
    let request = allow::read_request(request, &network)?;
    let role = match request.role {
        Role::Mix => "mix",
        Role::Gateway => "gateway",
    };
    let days = Clock::start()
        .unix()
        .saturating_since(request.made)
        .as_secs()
        / 86_400;
    let node = format!(
        "{role} {} of \"{}\" (asked {days} days ago)",
        hex::encode(&request.id().0),
        request.operator
    );
    match allow::admit(config, &request)? {
        Admission::Unchanged => return say(&format!("{node} is on the allow-list already.")),
        Admission::New => say(&format!("Admitted: {node}."))?,
        Admission::Changed => say(&format!(
            "Changed: {node}; it was there in another role or of another operator."
        ))?,
        Admission::NoLongerBanned => say(&format!("Admitted: {node}, which was banned."))?,
    }
    say(TAKES_EFFECT)?;
    say("The node is in once more than half of the authorities admit it.")
}

fn ban(config: &Config, node: &str) -> anyhow::Result<()> {
    let (id, entry) = allow::ban(config, node)?;
    let id = hex::encode(&id.0);
    match entry {
        Some(entry) => say(&format!(
            "Off the allow-list: {id} of \"{}\".",
            entry.operator
        ))?,
        None => say(&format!("Banned: {id}, which was not on the allow-list."))?,
    }
    say(TAKES_EFFECT)?;
    say(
        "The node is out once no more than half of the authorities admit it; directories that list it then hold for two epochs at most.",
    )
}

fn in_runtime(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(work)
}

fn say(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{line}").context("cannot write to standard output")
}
