//! The command line: what a person can say, and which part of the program does it.

mod talk;

use crate::config::Config;
use crate::daemon::Daemon;
use crate::vault;
use clap::{Args, Parser, Subcommand};
use messaging::{ContactId, MessengerConfig};
use runtime::config::exit;
use runtime::data_dir::DataDir;
use runtime::node::NodeError;
use runtime::node::foundation::read_network;
use runtime::shutdown::Shutdown;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Read when no `--config` is given, if it is there.
const CONFIG_FILE: &str = "clientd.toml";

/// The client of a Mizzle network: private messages for people and applications on this machine.
#[derive(Parser)]
#[command(name = "clientd", version)]
struct Cli {
    /// Configuration file; clientd.toml where there is one.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data folder; instead of the configured one.
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Make the data folder and your keys.
    Init,
    /// Run the daemon.
    Run(RunArgs),
    /// Print a fresh card, to be given to one person.
    Card {
        /// What you call yourself to them.
        #[arg(long)]
        name: Option<String>,
    },
    /// Add the owner of a card to your contacts.
    Add {
        /// The card's text.
        card: String,
        /// What you call yourself to them.
        #[arg(long)]
        name: Option<String>,
    },
    /// List your contacts.
    Contacts,
    /// Send a message.
    Send {
        /// Their name or id.
        contact: String,
        /// What to say.
        #[arg(required = true)]
        text: Vec<String>,
    },
    /// Print messages as they come.
    Listen {
        /// Print events as JSON, one a line.
        #[arg(long)]
        json: bool,
        /// Begin after this event; 0 for everything that is kept.
        #[arg(long)]
        after: Option<u64>,
    },
    /// Print how the daemon is doing.
    Status {
        /// Print it as JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
struct RunArgs {
    /// Only read and check the configuration.
    #[arg(long)]
    check_config: bool,
    /// End when the parent process ends.
    #[arg(long)]
    die_with_parent: bool,
}

/// Reads the command line and does what it says; the first argument is the program's name.
pub(crate) fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    // Asked for at once: a parent that dies while we start must not be missed.
    let parent = std::os::unix::process::parent_id();
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(2)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let file = cli.config.clone().or_else(default_config);
    let config = Config::load(file.as_deref(), cli.data.as_deref()).map_err(NodeError::from);
    let done = config.and_then(|config| match &cli.verb {
        Verb::Init => init(&config),
        Verb::Run(args) => daemon(&config, args, parent),
        Verb::Card { .. }
        | Verb::Add { .. }
        | Verb::Contacts
        | Verb::Send { .. }
        | Verb::Listen { .. }
        | Verb::Status { .. } => person(&config, &cli.verb),
    });
    match done {
        Ok(()) => ExitCode::from(u8::try_from(exit::OK).unwrap_or(0)),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "clientd: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn default_config() -> Option<PathBuf> {
    let file = Path::new(CONFIG_FILE);
    file.is_file().then(|| file.to_owned())
}

fn init(config: &Config) -> Result<(), NodeError> {
    let network = read_network(&config.network)?;
    let dir = DataDir::open(&config.data_dir)?;
    let mut store = vault::open_store(&dir)?;
    let messenger = vault::open_messenger(&mut store, MessengerConfig::new(*network.id()))?;
    let id = ContactId::of(&messenger.identity());
    say(&format!(
        "your keys are in {}; your contact id is {id}",
        dir.path().display()
    ))
}

fn daemon(config: &Config, args: &RunArgs, parent: u32) -> Result<(), NodeError> {
    let filter = runtime::logging::init(&config.log);
    filter.map_err(|error| NodeError::value("log", error.to_string()))?;
    if args.check_config {
        read_network(&config.network)?;
        return say("the configuration is good");
    }
    // The uplink and the store have threads of their own.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(8)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let shutdown = Shutdown::on_signals()?;
        if args.die_with_parent {
            shutdown.follow_parent(parent);
        }
        Daemon::start(config, shutdown).await?.wait().await
    })
}

fn person(config: &Config, verb: &Verb) -> Result<(), NodeError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let talk = talk::Talk::find(&config.data_dir)?;
        match verb {
            Verb::Card { name } => talk.card(name.as_deref()).await,
            Verb::Add { card, name } => talk.add(card, name.as_deref()).await,
            Verb::Contacts => talk.contacts().await,
            Verb::Send { contact, text } => talk.send(contact, &text.join(" ")).await,
            Verb::Listen { json, after } => talk.listen(*json, *after).await,
            Verb::Status { json } => talk.status(*json).await,
            Verb::Init | Verb::Run(_) => Ok(()),
        }
    })
}

/// A line for the person.
fn say(line: &str) -> Result<(), NodeError> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_wrong_configuration_exits_with_78_and_a_wrong_verb_with_2() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.toml");
        std::fs::write(&file, "api = \"0.0.0.0:1\"\n").unwrap();
        let run_with = |args: &[&str]| {
            let args = ["clientd"].iter().chain(args).map(OsString::from);
            format!("{:?}", run(args))
        };
        let path = file.to_str().unwrap();
        let wrong = run_with(&["run", "--check-config", "--config", path]);
        assert_eq!(wrong, format!("{:?}", ExitCode::from(78)));
        assert_eq!(run_with(&["dance"]), format!("{:?}", ExitCode::from(2)));
    }
}
