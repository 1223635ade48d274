//! Numbers of results put into a document, so that none is copied by hand.
//!
//! A document says in comments what belongs where, and what stands between such a comment and the next `<!-- end -->` is
//! replaced:
//!
//! ```text
//! <!-- value A9 | detected | drop, ρ = 100, λm/μ = 0.5 -->…<!-- end -->
//! <!-- table A7 | design | *, by the link | area = area under ROC | own gateway = area under ROC @ *, by the own gateway -->…<!-- end -->
//! ```
//!
//! A table has a row for each number whose `of` fits the pattern: the text that `*` stands for is the row's name. A pattern
//! `~text` takes what has the text in it, by its whole name. A column is `head = metric`; `@` and a pattern follow where its
//! numbers are of something else, and `: reference`, `: chance` or `: samples` where it is not the value that is shown.

use super::figures;
use crate::attacks::Record;
use crate::metrics::Measure;
use std::fmt;

/// Ends what is filled in.
const END: &str = "<!-- end -->";
/// Longest document.
const MOST: usize = 4 << 20;

/// What is wrong with a document, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unfilled {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Unfilled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for Unfilled {}

/// The document with the numbers of these results, and how many places were filled.
pub fn fill(document: &str, records: &[Record]) -> Result<(String, usize), Unfilled> {
    let (mut out, mut at, mut filled) = (String::with_capacity(document.len()), 0, 0);
    let wrong = |at: usize, what: String| Unfilled {
        line: 1 + document[..at].matches('\n').count(),
        what,
    };
    if document.len() > MOST {
        return Err(wrong(0, format!("longer than {MOST} bytes")));
    }
    while let Some((begin, kind)) = next(document, at) {
        let order = begin + kind.len();
        let Some(close) = document[order..].find("-->").map(|i| order + i) else {
            return Err(wrong(begin, "a comment that does not end".into()));
        };
        let content = close + "-->".len();
        let Some(end) = document[content..].find(END).map(|i| content + i) else {
            return Err(wrong(begin, format!("no {END} after it")));
        };
        let order = document[order..close].trim();
        let text = match kind {
            TABLE => table(order, records),
            _ => value(order, records),
        };
        out.push_str(&document[at..content]);
        out.push_str(&text.map_err(|what| wrong(begin, what))?);
        out.push_str(END);
        at = end + END.len();
        filled += 1;
    }
    out.push_str(&document[at..]);
    Ok((out, filled))
}

const TABLE: &str = "<!-- table ";
const VALUE: &str = "<!-- value ";

/// The next order.
fn next(document: &str, from: usize) -> Option<(usize, &'static str)> {
    let find = |kind: &'static str| document[from..].find(kind).map(|i| (from + i, kind));
    [TABLE, VALUE].into_iter().filter_map(find).min()
}

fn record<'a>(attack: &str, records: &'a [Record]) -> Result<&'a Record, String> {
    let found = records.iter().find(|r| r.attack == attack);
    found.ok_or_else(|| format!("no result of {attack}"))
}

/// All numbers, of the attack and of its null runs.
fn numbers(record: &Record) -> impl Iterator<Item = &Measure> {
    record.measures.iter().chain(&record.null)
}

fn value(order: &str, records: &[Record]) -> Result<String, String> {
    let parts: Vec<&str> = order.split(" | ").map(str::trim).collect();
    let [attack, metric, of] = parts[..] else {
        return Err(format!("want: ATTACK | metric | of what, not {order:?}"));
    };
    let (of, shown) = Shown::parse(of);
    let found = numbers(record(attack, records)?)
        .find(|m| m.metric.name() == metric && m.of == of)
        .ok_or_else(|| format!("{attack} has no {metric:?} of {of:?}"))?;
    Ok(shown.of(found))
}

/// What of a number is shown.
#[derive(Clone, Copy)]
enum Shown {
    Value,
    Bare,
    Reference,
    Chance,
    Samples,
}

impl Shown {
    /// Taken off the end of a text.
    fn parse(text: &str) -> (&str, Self) {
        let kinds = [
            (": bare", Self::Bare),
            (": reference", Self::Reference),
            (": chance", Self::Chance),
            (": samples", Self::Samples),
        ];
        let of = |(end, shown)| Some((text.strip_suffix(end)?.trim(), shown));
        kinds
            .into_iter()
            .find_map(of)
            .unwrap_or((text, Self::Value))
    }

    fn of(self, m: &Measure) -> String {
        let known = |x: Option<f64>| x.map_or("–".into(), number);
        match self {
            Self::Value if m.high > m.low => {
                format!(
                    "{} [{}, {}]",
                    number(m.value),
                    figures(m.low),
                    figures(m.high)
                )
            }
            Self::Value | Self::Bare => number(m.value),
            Self::Reference => known(m.reference),
            Self::Chance => known(m.chance),
            Self::Samples => m.samples.to_string(),
        }
    }
}

fn number(value: f64) -> String {
    match value {
        v if v.is_infinite() => "∞ (not reached)".into(),
        v => figures(v),
    }
}

/// Which numbers, by what they are of.
#[derive(Clone, Copy)]
enum Pattern<'a> {
    Has(&'a str),
    Star(&'a str, &'a str),
}

impl<'a> Pattern<'a> {
    fn parse(text: &'a str) -> Result<Self, String> {
        if let Some(part) = text.strip_prefix('~') {
            return Ok(Self::Has(part));
        }
        match text.split('*').collect::<Vec<_>>()[..] {
            [before, after] => Ok(Self::Star(before, after)),
            _ => Err(format!("one * or a ~ is wanted in {text:?}")),
        }
    }

    /// The row's name.
    fn name<'m>(&self, of: &'m str) -> Option<&'m str> {
        match self {
            Self::Has(part) => of.contains(part).then_some(of),
            Self::Star(before, after) => of.strip_prefix(before)?.strip_suffix(after),
        }
    }

    fn of(&self, name: &str) -> String {
        match self {
            Self::Has(_) => name.into(),
            Self::Star(before, after) => format!("{before}{name}{after}"),
        }
    }
}

struct Column<'a> {
    head: &'a str,
    metric: &'a str,
    pattern: Pattern<'a>,
    shown: Shown,
}

fn table(order: &str, records: &[Record]) -> Result<String, String> {
    let mut parts = order.split(" | ").map(str::trim);
    let mut part = |what: &str| {
        parts
            .next()
            .ok_or_else(|| format!("no {what} in {order:?}"))
    };
    let (attack, head, rows) = (part("attack")?, part("head")?, part("pattern")?);
    let record = record(attack, records)?;
    let rows = Pattern::parse(rows)?;
    let mut columns = Vec::new();
    for text in parts {
        let (head, rest) = text
            .split_once(" = ")
            .ok_or_else(|| format!("want: head = metric, not {text:?}"))?;
        let (rest, shown) = Shown::parse(rest);
        let (metric, pattern) = match rest.split_once(" @ ") {
            Some((metric, pattern)) => (metric, Pattern::parse(pattern)?),
            None => (rest, rows),
        };
        columns.push(Column {
            head,
            metric,
            pattern,
            shown,
        });
    }
    let first = columns.first().ok_or("no column")?;
    let of_first = numbers(record).filter(|m| m.metric.name() == first.metric);
    let mut names: Vec<&str> = Vec::new();
    for name in of_first.filter_map(|m| rows.name(&m.of)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() {
        return Err(format!("{attack} has no {:?} of such", first.metric));
    }
    let heads: Vec<&str> = columns.iter().map(|c| c.head).collect();
    let mut out = format!(
        "\n| {head} | {} |\n|---{}|\n",
        heads.join(" | "),
        "|---".repeat(columns.len())
    );
    for name in names {
        let cell = |column: &Column<'_>| {
            let of = column.pattern.of(name);
            let found = numbers(record).find(|m| m.metric.name() == column.metric && m.of == of);
            found.map_or("–".into(), |m| column.shown.of(m))
        };
        let cells: Vec<String> = columns.iter().map(cell).collect();
        out.push_str(&format!("| {name} | {} |\n", cells.join(" | ")));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attacks::{Effort, Findings, Setting, activity};
    use crate::metrics::{Metric, exact, proportion};

    fn records() -> Vec<Record> {
        let mut findings = Findings::default();
        for (design, hits) in [("echo", 50), ("push", 90)] {
            for (view, more) in [("link", 0), ("own gateway", 5)] {
                let of = format!("{design}, by the {view}");
                let area = proportion(hits + more, 100);
                findings
                    .measures
                    .push(Measure::new(Metric::Auc, of, area).beside(0.4));
            }
        }
        let differ = Measure::new(Metric::FramesDiffering, "in use", exact(0.0, 77));
        findings.measures.push(differ);
        let setting = Setting::new(1, Effort::Quick);
        vec![Record::new(&activity::ATTACK, &setting, findings)]
    }

    #[test]
    fn tables_and_values_are_filled_and_again_filled_alike() {
        let document = "a <!-- value A7 | frames that differ | in use -->9<!-- end --> of \
            <!-- value A7 | frames that differ | in use: samples --><!-- end -->\n\
            <!-- table A7 | design | *, by the link | link = area under ROC | old = area under ROC: reference \
            | inside = area under ROC @ *, by the own gateway: bare -->\nold\n<!-- end -->\nz";
        let (once, places) = fill(document, &records()).unwrap();
        assert_eq!(places, 3);
        assert!(once.contains("-->0<!-- end --> of ") && once.contains("-->77<!-- end -->"));
        assert!(
            once.contains("| design | link | old | inside |\n|---|---|---|---|\n"),
            "{once}"
        );
        assert!(
            once.contains("| echo | 0.500 [0.398, 0.602] | 0.400 | 0.550 |\n"),
            "{once}"
        );
        assert!(
            once.contains("| push | 0.900") && !once.contains("old\n<") && once.ends_with("\nz")
        );
        assert_eq!(fill(&once, &records()).unwrap().0, once);
    }

    #[test]
    fn what_cannot_be_filled_is_named_with_its_line() {
        let of = |text: &str| fill(&format!("one\n{text}"), &records()).unwrap_err();
        for (text, part) in [
            ("<!-- value A8 | x | y --><!-- end -->", "no result of A8"),
            ("<!-- value A7 | x | y --><!-- end -->", "has no \"x\""),
            ("<!-- value A7 | x --><!-- end -->", "want"),
            ("<!-- value A7 | x | y -->", "after it"),
            ("<!-- value A7 | x", "does not end"),
            ("<!-- table A7 | d | ** | a = b --><!-- end -->", "one *"),
            ("<!-- table A7 | d | * --><!-- end -->", "no column"),
            (
                "<!-- table A7 | d | * | ab --><!-- end -->",
                "head = metric",
            ),
            (
                "<!-- table A7 | d | none * | a = area under ROC --><!-- end -->",
                "of such",
            ),
        ] {
            let wrong = of(text);
            assert!(
                wrong.line == 2 && wrong.what.contains(part),
                "{text}: {wrong}"
            );
        }
    }
}
