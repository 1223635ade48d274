//! What stands behind the `?` of a request: every parameter that its route knows, once.

use super::problem::Problem;
use super::routes::{Kind, Route};
use std::collections::BTreeMap;

/// Parameters as they were given, decoded.
pub(super) struct Given(BTreeMap<&'static str, String>);

impl Given {
    /// Refuses unknown and doubled parameters, and values that are not of their kind.
    pub(super) fn parse(route: &Route, query: Option<&str>) -> Result<Self, Problem> {
        let mut given = BTreeMap::new();
        let pairs = query.unwrap_or_default().split('&');
        for pair in pairs.filter(|p| !p.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let known = route.query.iter().find(|q| q.name == name);
            let Some(known) = known else {
                let names: Vec<&str> = route.query.iter().map(|q| q.name).collect();
                let names = names.join(", ");
                return Err(Problem::bad_query(format!(
                    "the parameters here are: {names}"
                )));
            };
            let value =
                decode(value).ok_or_else(|| Problem::bad_query(format!("{name} is not UTF-8")))?;
            check(known.name, known.kind, &value)?;
            if given.insert(known.name, value).is_some() {
                return Err(Problem::bad_query(format!("{name} is given twice")));
            }
        }
        Ok(Self(given))
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Of a parameter whose kind is a number.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.text(name).and_then(|text| text.parse().ok())
    }

    /// Entries of a page.
    pub(super) fn limit(&self) -> usize {
        self.number("limit").unwrap_or(100) as usize
    }
}

fn check(name: &str, kind: Kind, value: &str) -> Result<(), Problem> {
    match kind {
        Kind::Number(least, most) => {
            let digits = value.bytes().all(|b| b.is_ascii_digit());
            let number = value.parse::<u64>().ok().filter(|_| digits);
            if number.is_some_and(|n| (least..=most).contains(&n)) {
                return Ok(());
            }
            // A position is no other parameter: its code is older.
            let code = if name == "after" {
                "bad_position"
            } else {
                "bad_query"
            };
            let detail = format!("{name} is a number from {least} to {most}");
            Err(Problem::new(code, detail))
        }
        Kind::Text(most) if value.chars().count() <= most as usize => Ok(()),
        Kind::Text(most) => Err(Problem::bad_query(format!(
            "{name} has at most {most} characters"
        ))),
        Kind::Cursor if is_cursor(value) => Ok(()),
        Kind::Cursor => Err(Problem::bad_query(format!(
            "{name} is `next` of the page before"
        ))),
    }
}

fn is_cursor(value: &str) -> bool {
    let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (1..=32).contains(&value.len()) && value.bytes().all(digit)
}

/// Percent-decoding, with `+` for a space as forms write it.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let (high, low) = (rest.next()?, rest.next()?);
                let digit = |b: u8| char::from(b).to_digit(16);
                u8::try_from(digit(high)? * 16 + digit(low)?).ok()?
            }
            b'+' => b' ',
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::super::routes::find;
    use super::*;
    use runtime::http::Method;

    #[test]
    fn parameters_are_known_once_and_of_their_kind() {
        let (route, _) = find(&Method::GET, "/v1/events").ok().unwrap();
        let code = |query| Given::parse(route, Some(query)).err().map(|p| p.code());
        for good in ["", "after=7", "after=0&wait=60&limit=200", "&after=1&"] {
            assert_eq!(code(good), None, "{good}");
        }
        for bad in [
            "from=1",
            "wait=61",
            "limit=0",
            "limit=1&limit=1",
            "after%3D1",
            "wait=%zz",
        ] {
            assert_eq!(code(bad), Some("bad_query"), "{bad}");
        }
        for bad in [
            "after=",
            "after=-1",
            "after=+1",
            "after=x",
            "after=18446744073709551616",
        ] {
            assert_eq!(code(bad), Some("bad_position"), "{bad}");
        }
        let (route, _) = find(&Method::POST, "/v1/blobs").ok().unwrap();
        let given = Given::parse(route, Some("name=a%20b+c%C3%A4"))
            .ok()
            .unwrap();
        assert_eq!(given.text("name"), Some("a b cä"));
        assert!(Given::parse(route, Some("name=%ff")).is_err());
    }
}
