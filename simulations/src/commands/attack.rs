//! `simulations attack`: the adversaries, one by one or all.

use super::Failure;
use super::progress::Progress;
use clap::{Subcommand, ValueEnum};
use simulations::attacks::{self, Attack, Effort, Record, Setting};
use simulations::plot;
use simulations::replay::Conversation;
use simulations::report::figures;
use simulations::whole_file;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Run adversaries, each with its null run.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// What there is.
    List,
    /// Run some, or all.
    Run(Run),
}

#[derive(clap::Args)]
struct Run {
    /// A1 to A14, or `all`.
    #[arg(required = true)]
    attacks: Vec<String>,
    /// Everything random follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How much work: seconds, or minutes.
    #[arg(long, value_enum, default_value_t = Much::Quick)]
    effort: Much,
    /// Real people: a file of lines `from to unix-seconds [bytes]`. Without it, made-up ones.
    #[arg(long)]
    trace: Option<PathBuf>,
    /// A new folder for JSON, CSV and SVG. Without it, numbers are only printed.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Write into a folder that exists, over the results of the same attacks.
    #[arg(long, requires = "out")]
    again: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Much {
    Quick,
    Full,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    match &arguments.verb {
        Verb::List => {
            list();
            Ok(ExitCode::SUCCESS)
        }
        Verb::Run(run) => run_all(run),
    }
}

fn list() {
    for attack in &attacks::ALL {
        println!("{:<4} {}", attack.id, attack.title);
        println!("     sees   {}", attack.sees);
        println!("     rule   {}", attack.rule);
    }
}

fn run_all(run: &Run) -> Result<ExitCode, Failure> {
    let people = match &run.trace {
        Some(path) => Some(read_people(path)?),
        None => None,
    };
    let setting = Setting {
        seed: run.seed,
        effort: match run.effort {
            Much::Quick => Effort::Quick,
            Much::Full => Effort::Full,
        },
        people,
    };
    let chosen = chosen(&run.attacks)?;
    if let Some(out) = &run.out {
        if !run.again && out.exists() {
            let what = format!(
                "{} exists: name a new folder, or say --again",
                out.display()
            );
            return Err(Failure(what));
        }
        fs::create_dir_all(out)
            .map_err(|e| Failure(format!("cannot make {}: {e}", out.display())))?;
    }
    let mut off = 0;
    for attack in chosen {
        let progress = Progress::new(attack.id, 1);
        let mut tell = |done: u64, of: u64, _: &str| {
            progress.tell(0, done as f64 / of.max(1) as f64);
        };
        let findings = (attack.run)(&setting, &mut tell);
        progress.end();
        let findings = findings?;
        off += findings.off_chance().count();
        let record = Record::new(attack, &setting, findings);
        print(&record);
        if let Some(out) = &run.out {
            write(out, &record)?;
        }
    }
    // A twentieth of all null runs lies outside of a 95 % interval by chance: that is said, not judged.
    if off > 0 {
        println!(
            "{off} null runs lie outside of their 95 % intervals; one in twenty does by chance"
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// A trace from a file.
pub(crate) fn read_people(path: &Path) -> Result<Conversation, Failure> {
    let name = path
        .file_stem()
        .map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    let text = fs::read_to_string(path)
        .map_err(|e| Failure(format!("cannot read {}: {e}", path.display())))?;
    Conversation::parse(&name, &text).map_err(|e| Failure(format!("{}: {e}", path.display())))
}

fn chosen(names: &[String]) -> Result<Vec<&'static Attack>, Failure> {
    if names.iter().any(|n| n.eq_ignore_ascii_case("all")) {
        return Ok(attacks::ALL.iter().collect());
    }
    let find = |name: &String| {
        let unknown = || {
            Failure(format!(
                "no attack {name}; `simulations attack list` shows all"
            ))
        };
        attacks::find(name).ok_or_else(unknown)
    };
    names.iter().map(find).collect()
}

fn print(record: &Record) {
    println!("{} {}", record.attack, record.title);
    let rows = record.measures.iter().map(|m| ("", m));
    for (kind, m) in rows.chain(record.null.iter().map(|m| ("null: ", m))) {
        let (name, unit, _) = m.metric.words();
        let interval = match m.high > m.low {
            true => format!("[{}, {}]", figures(m.low), figures(m.high)),
            false => String::new(),
        };
        let reference = m
            .reference
            .map_or(String::new(), |r| format!(" beside {}", figures(r)));
        let value = figures(m.value);
        println!(
            "  {kind}{name} {value} {interval}{reference} {unit}, {}: {}",
            m.samples, m.of
        );
    }
    for note in &record.notes {
        println!("  note: {note}");
    }
}

fn write(out: &Path, record: &Record) -> Result<(), Failure> {
    let put = |name: String, text: String| {
        let path = out.join(name);
        whole_file::put(&path, text.as_bytes()).map_err(|e| {
            let path = path.display();
            Failure(format!(
                "cannot write {path}: {e}; attacks that are done are kept: mend that, and name the others with --again"
            ))
        })
    };
    for figure in &record.figures {
        put(format!("{}.svg", figure.id), plot::draw(figure))?;
    }
    put(format!("{}.csv", record.attack), record.csv())?;
    // Last: what has it has the others.
    let json = serde_json::to_string_pretty(record)?;
    put(format!("{}.json", record.attack), json + "\n")
}
