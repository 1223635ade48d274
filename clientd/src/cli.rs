//! The command line: what a person can say, and which part of the program does it.

mod files;
mod listen;
mod people;
mod talk;
mod tokens;

use crate::config::Config;
use crate::daemon::Daemon;
use crate::vault;
use crate::vault::key::Unlock;
use clap::{Args, CommandFactory, Parser, Subcommand};
use messaging::{ContactId, MessengerConfig};
use runtime::clock::Clock;
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
    Init {
        /// Put the key that opens them under a passphrase, asked for at the terminal.
        #[arg(long)]
        passphrase: bool,
        #[command(flatten)]
        given: Given,
    },
    /// Put the key of your store under a passphrase, or another one; the daemon must not run.
    Passphrase {
        #[command(flatten)]
        given: Given,
        /// The new passphrase: a file's first line; - is standard input.
        #[arg(long, value_name = "FILE")]
        new_passphrase_file: Option<PathBuf>,
        /// Go back to a key that needs none.
        #[arg(long, conflicts_with = "new_passphrase_file")]
        remove: bool,
    },
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
    Contacts {
        /// Print them as JSON, one a line.
        #[arg(long)]
        json: bool,
    },
    /// Change what you decide about a contact.
    Set(Change),
    /// Forget a contact, and wipe all that was said.
    Remove {
        /// Their name or id.
        contact: String,
        /// You mean it.
        #[arg(long, required = true)]
        yes: bool,
    },
    /// Send a message, or a file.
    Send {
        /// Their name or id.
        contact: String,
        /// What to say.
        #[arg(required_unless_present = "file")]
        text: Vec<String>,
        /// A file that goes with it.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Follow the file until the contact has it.
        #[arg(long, requires = "file")]
        wait: bool,
    },
    /// Print messages as they come, from the first that was not printed yet.
    Listen {
        /// Print events as JSON, one a line.
        #[arg(long)]
        json: bool,
        /// Begin after this event; 0 for everything that is kept.
        #[arg(long)]
        after: Option<u64>,
        /// Do not acknowledge what was printed.
        #[arg(long)]
        keep: bool,
    },
    /// Files on this client's disk.
    #[command(subcommand)]
    Files(FilesVerb),
    /// Applications and their tokens.
    #[command(subcommand)]
    Tokens(TokensVerb),
    /// Wipe a conversation, or everything.
    Wipe {
        /// Whose conversation.
        #[arg(required_unless_present = "everything", conflicts_with = "everything")]
        contact: Option<String>,
        /// Keys, contacts, messages and files of this client; the daemon ends.
        #[arg(long)]
        everything: bool,
        /// You mean it.
        #[arg(long, required = true)]
        yes: bool,
    },
    /// Print how the daemon is doing.
    Status {
        /// Print it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print completions for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Print the API's OpenAPI document.
    Openapi,
}

#[derive(Args)]
struct Change {
    /// Their name or id.
    contact: String,
    /// What to call them.
    #[arg(long)]
    name: Option<String>,
    /// Whether you compared keys with them.
    #[arg(long, value_name = "true|false")]
    verified: Option<bool>,
    /// Whether their messages are looked for more often.
    #[arg(long, value_name = "true|false")]
    favourite: Option<bool>,
    /// Whether they are told what was delivered and read.
    #[arg(long, value_name = "true|false")]
    receipts: Option<bool>,
    /// Forget what was said after so many days; 0 stands for ever.
    #[arg(long)]
    retention_days: Option<u64>,
}

#[derive(Subcommand)]
enum FilesVerb {
    /// List all that are whole.
    List,
    /// Write one to the disk.
    Save {
        /// Its name in the list.
        blob: String,
        /// Where to; by default its own name in the current folder. Never over a file that is there.
        path: Option<PathBuf>,
    },
    /// Fetch the file that a message offers.
    Accept {
        /// From whom.
        contact: String,
        /// The message's id.
        message: String,
    },
    /// Give up the file that a message offers.
    Cancel {
        /// From whom.
        contact: String,
        /// The message's id.
        message: String,
    },
    /// Remove one from the disk.
    Remove {
        /// Its name in the list.
        blob: String,
    },
}

#[derive(Subcommand)]
enum TokensVerb {
    /// List applications.
    List,
    /// Mint a token and print it; it is shown this once.
    New {
        /// What the application is called.
        name: String,
        /// What it may do: messages:read, messages:send, contacts, files, admin.
        #[arg(long, required = true)]
        scope: Vec<String>,
        /// The only contacts that exist for it, by name or id.
        #[arg(long)]
        contact: Vec<String>,
        /// Let it read from the oldest event that is kept.
        #[arg(long)]
        from_start: bool,
    },
    /// Take a token back.
    Revoke {
        /// The application's number.
        id: u32,
    },
}

// A passphrase never stands on the command line itself, where every process sees it.
#[derive(Args)]
struct Given {
    /// The passphrase: a file's first line; - is standard input, /dev/fd/3 a descriptor. Without it, it is
    /// asked for at the terminal.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl Given {
    fn unlock(&self) -> Unlock {
        Unlock::from_file(self.passphrase_file.clone())
    }
}

#[derive(Args)]
struct RunArgs {
    #[command(flatten)]
    given: Given,
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
    let done = if let Verb::Completions { shell } = &cli.verb {
        let (mut command, mut script) = (Cli::command(), Vec::new());
        clap_complete::generate(*shell, &mut command, "clientd", &mut script);
        say(String::from_utf8_lossy(&script).trim_end())
    } else if let Verb::Openapi = &cli.verb {
        say(crate::api::openapi_document().trim_end())
    } else {
        with_config(&cli, parent)
    };
    match done {
        Ok(()) => ExitCode::from(u8::try_from(exit::OK).unwrap_or(0)),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "clientd: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn with_config(cli: &Cli, parent: u32) -> Result<(), NodeError> {
    let file = cli.config.clone().or_else(default_config);
    let config = Config::load(file.as_deref(), cli.data.as_deref())?;
    if let Verb::Init { passphrase, given } = &cli.verb {
        let mut unlock = given.unlock();
        unlock.wrap_new |= passphrase;
        init(&config, &unlock)
    } else if let Verb::Passphrase {
        given,
        new_passphrase_file,
        remove,
    } = &cli.verb
    {
        let new = Unlock::from_file(new_passphrase_file.clone());
        let dir = DataDir::open(&config.data_dir)?;
        vault::key::change(&dir, &given.unlock(), (!remove).then_some(&new))?;
        say(match remove {
            true => "the key of the store needs no passphrase any more",
            false => "the key of the store is under the new passphrase",
        })
    } else if let Verb::Run(args) = &cli.verb {
        daemon(&config, args, parent)
    } else {
        person(&config, &cli.verb)
    }
}

fn default_config() -> Option<PathBuf> {
    let file = Path::new(CONFIG_FILE);
    file.is_file().then(|| file.to_owned())
}

fn init(config: &Config, unlock: &Unlock) -> Result<(), NodeError> {
    let network = read_network(&config.network)?;
    let dir = DataDir::open(&config.data_dir)?;
    let config = MessengerConfig::new(*network.id());
    let opened = vault::open(&dir, unlock, &config, Clock::start().unix())?;
    if let Some(degraded) = &opened.degraded {
        say(degraded)?;
    }
    let messenger = opened.messenger;
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
        Daemon::start(config, &args.given.unlock(), shutdown)
            .await?
            .wait()
            .await
    })
}

fn person(config: &Config, verb: &Verb) -> Result<(), NodeError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let talk = talk::Talk::find(&config.data_dir)?;
        match verb {
            Verb::Card { name } => people::card(&talk, name.as_deref()).await,
            Verb::Add { card, name } => people::add(&talk, card, name.as_deref()).await,
            Verb::Contacts { json } => people::contacts(&talk, *json).await,
            Verb::Set(change) => people::change(&talk, change).await,
            Verb::Remove { contact, .. } => people::remove(&talk, contact).await,
            Verb::Send {
                contact,
                text,
                file: Some(file),
                wait,
            } => files::send_file(&talk, contact, &text.join(" "), file, *wait).await,
            Verb::Send { contact, text, .. } => {
                let to = talk.contact(contact).await?;
                let body = serde_json::json!({ "text": text.join(" ") });
                people::send(&talk, &to, body).await.map(|_| ())
            }
            Verb::Listen { json, after, keep } => listen::listen(&talk, *json, *after, *keep).await,
            Verb::Files(verb) => files::files(&talk, verb).await,
            Verb::Tokens(verb) => tokens::tokens(&talk, verb).await,
            Verb::Wipe { contact, .. } => people::wipe(&talk, contact.as_deref()).await,
            Verb::Status { json } => people::status(&talk, *json).await,
            Verb::Init { .. }
            | Verb::Passphrase { .. }
            | Verb::Run(_)
            | Verb::Completions { .. }
            | Verb::Openapi => Ok(()),
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
