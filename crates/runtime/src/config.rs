//! Configuration: a TOML file, then the environment, then strict types.
//!
//! The types are each daemon's own: `#[derive(Deserialize, Serialize)]` with
//! `#[serde(default, deny_unknown_fields)]` and a `Default`. Every message says where, which key,
//! and what to do.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// What a process says to its parent when it ends.
pub mod exit {
    /// All went well.
    pub const OK: i32 = 0;
    /// Something failed that another start may cure.
    pub const FAILED: i32 = 1;
    /// The configuration is wrong (`EX_CONFIG`): another start changes nothing.
    pub const CONFIG: i32 = 78;
}

/// A configuration cannot be used. Ends the process with [`exit::CONFIG`].
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No file where one was named.
    #[error("cannot read {}: {source}. Check the path given with --config", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line of the file is wrong.
    #[error("{}, line {line}: {message}. The line reads: `{text}`", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// The line itself.
        text: String,
        /// What is wrong; names the key.
        message: String,
    },
    /// A variable is wrong.
    #[error("environment variable {name}: {message}. Correct it or unset it")]
    Environment {
        /// Which.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// The values are of the right types but make no sense; raised by the daemons' own checks.
    #[error("{key}: {message}")]
    Value {
        /// Which key.
        key: String,
        /// What is wrong and what to do.
        message: String,
    },
}

/// Reads `path` (defaults alone where there is none), then the variables `MIZZLE_<DAEMON>_<KEY>`;
/// a key in a section is `MIZZLE_<DAEMON>_<SECTION>__<KEY>`.
pub fn load<T>(path: Option<&Path>, daemon: &str) -> Result<T, ConfigError>
where
    T: DeserializeOwned + Default,
{
    // A variable that is not Unicode cannot name one of ours.
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    load_from(path, daemon, variables)
}

/// [`load`] with the environment handed in.
pub fn load_from<T>(
    path: Option<&Path>,
    daemon: &str,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<T, ConfigError>
where
    T: DeserializeOwned + Default,
{
    let (mut config, mut table) = match path {
        None => (T::default(), Table::new()),
        Some(path) => read_file(path)?,
    };
    let prefix = format!("MIZZLE_{}_", daemon.to_uppercase());
    for (name, value) in variables {
        if let Some(key) = name.strip_prefix(&prefix) {
            (config, table) = with_variable(table, &name, key, &value)?;
        }
    }
    Ok(config)
}

fn read_file<T: DeserializeOwned>(path: &Path) -> Result<(T, Table), ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    let parsed = toml::from_str::<T>(&text).and_then(|config| Ok((config, toml::from_str(&text)?)));
    parsed.map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let before = text.get(..start).unwrap_or_default();
        let line = before.matches('\n').count();
        ConfigError::File {
            path: path.to_owned(),
            line: line + 1,
            text: text.lines().nth(line).unwrap_or_default().trim().to_owned(),
            message: error.message().to_owned(),
        }
    })
}

/// The table with one variable's value in it. The value is read as TOML where the key takes that
/// (numbers, lists, true and false), and else as plain text.
fn with_variable<T: DeserializeOwned>(
    table: Table,
    name: &str,
    key: &str,
    value: &str,
) -> Result<(T, Table), ConfigError> {
    let keys: Vec<String> = key.split("__").map(str::to_lowercase).collect();
    let typed = toml::from_str::<Table>(&format!("value = {value}"))
        .ok()
        .and_then(|mut one| one.remove("value"));
    let mut first_error = None;
    for candidate in typed.into_iter().chain([Value::String(value.to_owned())]) {
        let mut with = table.clone();
        if !insert(&mut with, &keys, candidate) {
            first_error.get_or_insert(format!("`{key}` is no section"));
            continue;
        }
        match Value::Table(with.clone()).try_into::<T>() {
            Ok(config) => return Ok((config, with)),
            Err(error) => {
                first_error.get_or_insert(error.message().to_owned());
            }
        }
    }
    Err(ConfigError::Environment {
        name: name.to_owned(),
        message: first_error.unwrap_or_default(),
    })
}

fn insert(table: &mut Table, keys: &[String], value: Value) -> bool {
    match keys {
        [] => false,
        [key] => {
            table.insert(key.clone(), value);
            true
        }
        [section, rest @ ..] => {
            let inner = table
                .entry(section.clone())
                .or_insert_with(|| Value::Table(Table::new()));
            match inner.as_table_mut() {
                Some(inner) => insert(inner, rest, value),
                None => false,
            }
        }
    }
}

/// Compares an example file with the defaults: every key must stand there and equal its default.
///
/// A key that is commented out as `#key = value` (no space behind `#`) counts; `# text` is prose.
/// A key without a default (an `Option`) may stand there with any value of its type. For the tests
/// of each daemon.
pub fn check_example_equals_default<T>(example: &str) -> Result<(), String>
where
    T: DeserializeOwned + Default + Serialize,
{
    let whole: String = example
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if key.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => key,
            Some(_) | None => line,
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    toml::from_str::<T>(example).map_err(|e| format!("the example cannot be read: {e}"))?;
    toml::from_str::<T>(&whole).map_err(|e| format!("a commented key cannot be read: {e}"))?;
    let shown: Table = toml::from_str(&whole).map_err(|e| e.to_string())?;
    let defaults = Table::try_from(T::default()).map_err(|e| e.to_string())?;
    compare("", &shown, &defaults)
}

fn compare(section: &str, shown: &Table, defaults: &Table) -> Result<(), String> {
    for (key, default) in defaults {
        let name = format!("{section}{key}");
        match (shown.get(key), default) {
            (None, Value::Table(inner)) if inner.is_empty() => {}
            (None, _) => return Err(format!("the example lacks `{name}`")),
            (Some(Value::Table(shown)), Value::Table(default)) => {
                compare(&format!("{name}."), shown, default)?;
            }
            (Some(value), default) if value == default => {}
            (Some(value), default) => {
                return Err(format!(
                    "`{name}` is {value:?} in the example, {default:?} by default"
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Config {
        name: String,
        listen: std::net::SocketAddr,
        key: Option<String>,
        limits: Limits,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Limits {
        links: u32,
    }

    impl Default for Config {
        fn default() -> Self {
            Self {
                name: "mix".into(),
                listen: "127.0.0.1:7000".parse().unwrap(),
                key: None,
                limits: Limits::default(),
            }
        }
    }

    impl Default for Limits {
        fn default() -> Self {
            Self { links: 5 }
        }
    }

    fn file_with(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn load_text(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let file = file_with(text);
        let variables = variables.iter().map(|(n, v)| ((*n).into(), (*v).into()));
        load_from(Some(file.path()), "mixnode", variables)
    }

    #[test]
    fn nothing_given_is_the_default() {
        assert_eq!(load_text("", &[]).unwrap(), Config::default());
        assert_eq!(
            load_from::<Config>(None, "mixnode", []).unwrap(),
            Config::default()
        );
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let error = load_text("name = \"a\"\n\n[limits]\nlinsk = 3\n", &[]).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("line 4"), "{text}");
        assert!(
            text.contains("`linsk`") && text.contains("`links`"),
            "{text}"
        );
    }

    #[test]
    fn a_wrong_type_and_wrong_syntax_are_named_with_their_line() {
        let text = load_text("\nname = 7\n", &[]).unwrap_err().to_string();
        assert!(
            text.contains("line 2") && text.contains("name = 7"),
            "{text}"
        );
        let text = load_text("name = \"a\"\nlisten =\n", &[])
            .unwrap_err()
            .to_string();
        assert!(text.contains("line 2"), "{text}");
    }

    #[test]
    fn the_environment_goes_before_the_file() {
        let variables = [
            ("MIZZLE_MIXNODE_NAME", "5"),
            ("MIZZLE_MIXNODE_LISTEN", "[::1]:9"),
            ("MIZZLE_MIXNODE_LIMITS__LINKS", "9"),
            ("MIZZLE_GATEWAY_NAME", "other"),
        ];
        let config = load_text("name = \"a\"\n", &variables).unwrap();
        assert_eq!(config.name, "5");
        assert_eq!(config.listen, "[::1]:9".parse().unwrap());
        assert_eq!(config.limits.links, 9);
    }

    #[test]
    fn a_wrong_variable_is_named() {
        for (name, value) in [
            ("MIZZLE_MIXNODE_LIMITS__LINKS", "many"),
            ("MIZZLE_MIXNODE_NMAE", "a"),
            ("MIZZLE_MIXNODE_NAME__PART", "a"),
        ] {
            let text = load_text("name = \"a\"\n", &[(name, value)])
                .unwrap_err()
                .to_string();
            assert!(text.contains(name), "{text}");
        }
    }

    #[test]
    fn an_absent_file_is_no_default() {
        let result = load_from::<Config>(Some(Path::new("/nonexistent/x.toml")), "mixnode", []);
        assert!(matches!(result, Err(ConfigError::Read { .. })));
    }

    #[test]
    fn an_example_must_show_every_key_at_its_default() {
        let good = "# Prose.\n#name = \"mix\"\nlisten = \"127.0.0.1:7000\"\n#key = \"x\"\n\
                    [limits]\n#links = 5\n";
        check_example_equals_default::<Config>(good).unwrap();
        for (wrong, says) in [
            (good.replace("#links = 5\n", ""), "lacks `limits.links`"),
            (good.replace("5", "6"), "`limits.links`"),
            (good.replace("#key", "#kye"), "kye"),
        ] {
            let error = check_example_equals_default::<Config>(&wrong).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
