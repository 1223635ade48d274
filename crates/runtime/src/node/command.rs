//! The command line of a node: `init`, `join`, `run`, `status`, `retire`, `bench`.
//!
//! A daemon is a [`NodeDaemon`]; its `main` is one call of [`main`]. What is printed here is for the
//! person who typed the command; what happens later goes to the log.

use super::NodeError;
use super::foundation::Foundation;
use super::join;
use super::retire::{self, RetireOptions};
use super::settings::Settings;
use crate::config::{self, ConfigError, exit};
use crate::http_client::HttpClient;
use crate::logging;
use crate::shutdown::Shutdown;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use directory::Role;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tokio::runtime::Handle;

/// Threads for links; the loop has the main thread for itself ([`loop_runtime`]).
const WORKERS: usize = 2;
/// How long tasks may still run once the loop has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What is different between a mixnode and a gateway.
pub trait NodeDaemon {
    /// Its TOML.
    type Config: DeserializeOwned + Default;
    /// `mixnode` or `gateway`; names the configuration file and the variables.
    const NAME: &'static str;
    /// The example configuration, with all defaults.
    const EXAMPLE: &'static str;
    /// What it does in the network.
    const ROLE: Role;
    /// The part that all nodes have.
    fn settings(config: &Self::Config) -> Settings;
    /// The log level.
    fn log(config: &Self::Config) -> &str;
    /// Refuses what cannot work; calls [`Settings::check`].
    fn check(config: &Self::Config) -> Result<(), ConfigError>;
    /// Whether there is a verb `bench`.
    const HAS_BENCH: bool = false;
    /// Measures what this machine carries; what to say of it.
    fn bench(_config: &Self::Config, _options: &BenchOptions) -> Result<String, NodeError> {
        let text = format!("`{} bench` is not there", Self::NAME);
        Err(NodeError::Ended(text))
    }
    /// Makes or reads what the data folder holds beside the identity.
    fn prepare(_config: &Self::Config, _foundation: &mut Foundation) -> Result<(), NodeError> {
        Ok(())
    }
    /// Runs until `shutdown`. Links and everything else that is not the loop belong on `io`.
    fn run(
        config: Self::Config,
        foundation: Foundation,
        shutdown: Shutdown,
        io: &Handle,
    ) -> Result<(), NodeError>;
}

/// What the verb `bench` is asked for.
#[derive(Clone, Debug, clap::Args)]
pub struct BenchOptions {
    /// How long it may take, more or less.
    #[arg(long, default_value_t = 20)]
    pub seconds: u32,
    /// The answer as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Write a configuration and an identity key, and say what comes next.
    Init {
        /// The configuration file to write; by default NAME.toml here.
        #[arg(long)]
        config: Option<PathBuf>,
        /// A key of the configuration and its value in TOML, as in
        /// `--set 'listen=["192.0.2.7:7101"]'`. May be given often.
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
    },
    /// Print the signed request to be let in, for the operators of the network's authorities.
    Join {
        /// The configuration file; by default NAME.toml here.
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Run the node until SIGTERM or SIGINT.
    Run {
        /// The configuration file; by default NAME.toml here.
        #[arg(long)]
        config: Option<PathBuf>,
        /// Read and check the configuration and the files it names, and end.
        #[arg(long)]
        check_config: bool,
        /// End when this process' parent ends.
        #[arg(long, num_args = 0..=1, require_equals = true, value_name = "PID",
              default_missing_value = "0")]
        die_with_parent: Option<u32>,
    },
    /// Ask a running node how it does, over its metrics port.
    Status {
        /// The configuration file; by default NAME.toml here.
        #[arg(long)]
        config: Option<PathBuf>,
        /// The answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Leave the network without losing a packet: be in no later directory, serve until then, and say when
    /// the node may be stopped. May be given again, to ask how far it is.
    Retire {
        /// The configuration file; by default NAME.toml here.
        #[arg(long)]
        config: Option<PathBuf>,
        #[command(flatten)]
        options: RetireOptions,
    },
    /// Measure what this machine can carry, in packets a second and in users. Starts a node of its own.
    Bench {
        /// The configuration file, for threads, limits and disk; by default NAME.toml here, or the
        /// defaults where there is none.
        #[arg(long)]
        config: Option<PathBuf>,
        #[command(flatten)]
        options: BenchOptions,
    },
}

/// Runs the command in `args`, the program's name first.
pub fn main<D: NodeDaemon>(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let parsed = Cli::command()
        .name(D::NAME)
        .bin_name(D::NAME)
        .mut_subcommand("bench", |verb| verb.hide(!D::HAS_BENCH))
        .try_get_matches_from(args);
    let cli = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1));
        }
    };
    let done = match cli.verb {
        Verb::Init { config, set } => init::<D>(&path_or_default::<D>(config), &set),
        Verb::Run {
            config,
            check_config,
            die_with_parent,
        } => run::<D>(&path_or_default::<D>(config), check_config, die_with_parent),
        Verb::Status { config, json } => status::<D>(&path_or_default::<D>(config), json),
        Verb::Join { config } => load::<D>(&path_or_default::<D>(config))
            .and_then(|config| join::run(D::NAME, D::ROLE, &D::settings(&config)))
            .map(|request| say(&request)),
        Verb::Retire { config, options } => load::<D>(&path_or_default::<D>(config))
            .and_then(|config| retire::run(D::NAME, &D::settings(&config), options, say)),
        Verb::Bench { config, options } => bench::<D>(config, &options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{}: {error}", D::NAME);
            ExitCode::from(error.exit_code())
        }
    }
}

fn path_or_default<D: NodeDaemon>(given: Option<PathBuf>) -> PathBuf {
    given.unwrap_or_else(|| PathBuf::from(format!("{}.toml", D::NAME)))
}

fn say(text: &str) {
    // A reader that went away is no failure of ours.
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn load<D: NodeDaemon>(path: &Path) -> Result<D::Config, NodeError> {
    let config = config::load(Some(path), D::NAME)?;
    D::check(&config)?;
    Ok(config)
}

fn init<D: NodeDaemon>(path: &Path, set: &[String]) -> Result<(), NodeError> {
    let text = with_values(D::EXAMPLE, set)?;
    // Checked before it is written, so that what is written can be used.
    let config: D::Config = toml::from_str(&text)
        .map_err(|error| NodeError::value("--set", error.message().to_owned()))?;
    D::check(&config)?;
    let settings = D::settings(&config);
    let mut file = std::fs::File::create_new(path).map_err(|error| {
        let message = if error.kind() == std::io::ErrorKind::AlreadyExists {
            "is there already: edit it, or choose another file with --config".to_owned()
        } else {
            format!("cannot be written: {error}")
        };
        std::io::Error::new(error.kind(), format!("{} {message}", path.display()))
    })?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    let shown = path.display();
    let mut next = format!("Wrote {shown}.\n");
    // Without network.toml there is no identity yet either: `run` makes it.
    match Foundation::open(&settings) {
        Ok(mut foundation) => {
            D::prepare(&config, &mut foundation)?;
            let id = directory::hex::encode(&foundation.id().0);
            let identity = directory::hex::encode(&foundation.identity.public().to_bytes());
            let _ = write!(
                next,
                "Made the keys in {} (back them up; nobody else may read them).\n\
                 Node:     {id}\nIdentity: {identity}\n",
                settings.data_dir.display(),
            );
        }
        Err(NodeError::Config(missing)) => {
            let _ = writeln!(next, "Still missing: {missing}.");
        }
        Err(error) => return Err(error),
    }
    let name = D::NAME;
    let _ = write!(
        next,
        "Next:\n\
         1. Put the network's network.toml at {network}.\n\
         2. In {shown}, set `listen` and `announce` to addresses that others can reach, and\n   \
            `operator` to your name.\n\
         3. Send what `{name} join --config {shown}` prints to the operators of the network's\n   \
            authorities, so that they admit the node.\n\
         4. {name} run --config {shown} --check-config\n\
         5. {name} run --config {shown}",
        network = settings.network.display(),
    );
    say(&next);
    Ok(())
}

/// The example with some keys' lines replaced. A key that is commented out is made a line again.
fn with_values(example: &str, set: &[String]) -> Result<String, NodeError> {
    let mut lines: Vec<String> = example.lines().map(str::to_owned).collect();
    for pair in set {
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| NodeError::value("--set", format!("`{pair}` is not KEY=VALUE")))?;
        let key = key.trim();
        let line = lines.iter_mut().find(|line| {
            let line = line.strip_prefix('#').unwrap_or(line);
            line.split_once('=')
                .is_some_and(|(name, _)| name.trim_end() == key)
        });
        let Some(line) = line else {
            return Err(NodeError::value(
                "--set",
                format!("there is no key `{key}`"),
            ));
        };
        // Text without quotes is what a person types.
        let typed = toml::from_str::<toml::Table>(&format!("v = {value}")).is_ok();
        let quoted = if typed {
            value.to_owned()
        } else {
            format!("'{value}'")
        };
        *line = format!("{key} = {quoted}");
    }
    lines.push(String::new());
    Ok(lines.join("\n"))
}

fn run<D: NodeDaemon>(
    path: &Path,
    check_only: bool,
    die_with_parent: Option<u32>,
) -> Result<(), NodeError> {
    let config = load::<D>(path)?;
    logging::init(D::log(&config)).map_err(|error| NodeError::value("log", error.to_string()))?;
    let settings = D::settings(&config);
    if check_only {
        super::foundation::read_network(&settings.network)?;
        say(&format!("{} is fine.", path.display()));
        return Ok(());
    }
    let mut foundation = Foundation::open(&settings)?;
    if settings.test_seed.is_some() {
        tracing::warn!("test_seed is set: every key and delay of this node can be foretold");
    }
    D::prepare(&config, &mut foundation)?;
    let io = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()?;
    let shutdown = io.block_on(async {
        let shutdown = Shutdown::on_signals()?;
        if let Some(parent) = die_with_parent {
            let parent = if parent == 0 {
                std::os::unix::process::parent_id()
            } else {
                parent
            };
            shutdown.follow_parent(parent);
        }
        Ok::<_, std::io::Error>(shutdown)
    })?;
    let done = D::run(config, foundation, shutdown, io.handle());
    io.shutdown_timeout(LAST_WORDS);
    done
}

/// What a punctual loop runs on: one thread that waits for its own timer, so that no other thread
/// has to wake it.
pub fn loop_runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

fn bench<D: NodeDaemon>(path: Option<PathBuf>, options: &BenchOptions) -> Result<(), NodeError> {
    let default = path_or_default::<D>(None);
    let config = match path {
        Some(path) => load::<D>(&path)?,
        None if default.exists() => load::<D>(&default)?,
        None => D::Config::default(),
    };
    say(&D::bench(&config, options)?);
    Ok(())
}

fn status<D: NodeDaemon>(path: &Path, json: bool) -> Result<(), NodeError> {
    let config = load::<D>(path)?;
    let Some(address) = D::settings(&config).metrics else {
        let message = "`status` asks there; set it to a port on 127.0.0.1 and start the node again";
        return Err(NodeError::value("metrics", message));
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let answer = runtime
        .block_on(HttpClient::new(address).get("/status"))
        .map_err(|error| NodeError::Ended(format!("{error}. Does the node run?")))?;
    let text = String::from_utf8_lossy(&answer.body);
    match serde_json::from_str::<Value>(&text) {
        Ok(value) if !json => say(human(&value).trim_end()),
        Ok(_) => say(&text),
        Err(_) => return Err(NodeError::Ended(format!("{address} is not a node's port"))),
    }
    Ok(())
}

/// A line for each value; what is nested stands on one line.
fn human(status: &Value) -> String {
    let mut out = String::new();
    let plain = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    for (key, value) in status.as_object().into_iter().flatten() {
        let value = match value.as_object() {
            Some(inner) if inner.is_empty() => "none".to_owned(),
            Some(inner) => {
                let parts: Vec<_> = inner
                    .iter()
                    .map(|(k, v)| format!("{k} {}", plain(v)))
                    .collect();
                parts.join(", ")
            }
            None => plain(value),
        };
        let _ = writeln!(out, "{:<16} {value}", key.replace('_', " "));
    }
    out
}

/// The exit code for wrong configurations, for tests.
pub const EXIT_CONFIG: i32 = exit::CONFIG;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_replace_lines_and_comments_of_the_example() {
        let example = "# Prose.\nlisten = [\"127.0.0.1:1\"]\n#metrics = \"127.0.0.1:2\"\n";
        let set = [
            "metrics=127.0.0.1:3".to_owned(),
            "listen=[\"127.0.0.1:4\"]".to_owned(),
        ];
        let text = with_values(example, &set).unwrap();
        let expected = "# Prose.\nlisten = [\"127.0.0.1:4\"]\nmetrics = '127.0.0.1:3'\n";
        assert_eq!(text, expected);
        assert!(with_values(example, &["else=1".to_owned()]).is_err());
    }

    #[test]
    fn the_command_line_makes_sense() {
        Cli::command().debug_assert();
    }
}
