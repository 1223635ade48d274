//! A study's folder: `scenario.toml`, one file for each cell that is done, and, when all are, the tables. A cell's file
//! is there whole or not at all, so whatever ends a run, what is finished is kept.

use super::{Assembled, CellResult, cells};
use crate::scenario_file::Study;
use crate::whole_file;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Why a study did not come to its end, and what to do about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StudyError(pub String);

impl fmt::Display for StudyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StudyError {}

/// One of several parts of a study.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shard {
    /// From 0.
    pub index: usize,
    /// How many there are.
    pub of: usize,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text
            .split_once('/')
            .and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        match parsed {
            Some((index, of)) if index < of => Ok(Self { index, of }),
            Some(_) | None => Err("a shard is i/n with i from 0 to n - 1, like 0/8".into()),
        }
    }
}

/// Where results are kept.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// A new one; refuses one that exists.
    pub fn create(path: &Path, study: &Study) -> Result<Self, StudyError> {
        if path.exists() {
            let path = path.display();
            let what = format!("{path} exists: give another --out, or --resume to go on with it");
            return Err(StudyError(what));
        }
        let folder = Self { path: path.into() };
        fs::create_dir_all(folder.cells()).map_err(|e| cannot("make", &folder.cells(), &e))?;
        folder.write("scenario.toml", study.text.as_bytes())?;
        Ok(folder)
    }

    /// One that was begun with the very same scenario; or a new one.
    pub fn resume(path: &Path, study: &Study) -> Result<Self, StudyError> {
        if !path.exists() {
            return Self::create(path, study);
        }
        let folder = Self { path: path.into() };
        let scenario = path.join("scenario.toml");
        match fs::read_to_string(&scenario) {
            Ok(text) if text == study.text => {}
            Ok(_) => {
                let path = path.display();
                let what = format!("{path} was begun with another scenario: give another --out");
                return Err(StudyError(what));
            }
            // Killed before the first byte was written.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let mut inside = fs::read_dir(path).map_err(|e| cannot("read", path, &e))?;
                if inside.any(|entry| entry.is_ok_and(|e| e.path() != folder.cells())) {
                    let what = format!("{} is no folder of a study", path.display());
                    return Err(StudyError(what));
                }
                folder.write("scenario.toml", study.text.as_bytes())?;
            }
            Err(e) => return Err(cannot("read", &scenario, &e)),
        }
        fs::create_dir_all(folder.cells()).map_err(|e| cannot("make", &folder.cells(), &e))?;
        Ok(folder)
    }

    /// An existing one, to read.
    pub fn open(path: &Path) -> Result<(Self, Study), StudyError> {
        let scenario = path.join("scenario.toml");
        let text = fs::read_to_string(&scenario).map_err(|e| cannot("read", &scenario, &e))?;
        let study =
            Study::parse(&text).map_err(|e| StudyError(format!("{}, {e}", scenario.display())))?;
        Ok((Self { path: path.into() }, study))
    }

    fn cells(&self) -> PathBuf {
        self.path.join("cells")
    }

    fn cell(&self, number: usize) -> PathBuf {
        self.cells().join(format!("{number:08}.json"))
    }

    /// Cells of a shard that are still to be run.
    pub fn missing(&self, study: &Study, shard: Shard) -> Vec<usize> {
        (0..cells(study))
            .filter(|n| n % shard.of == shard.index && !self.cell(*n).exists())
            .collect()
    }

    /// Keeps a cell.
    pub fn store(&self, result: &CellResult) -> Result<(), StudyError> {
        let bytes = serde_json::to_vec(result).map_err(|e| StudyError(e.to_string()))?;
        let name = format!("cells/{:08}.json", result.cell.number);
        self.write(&name, &bytes)
    }

    /// Reads a cell.
    pub fn load(&self, number: usize) -> Result<CellResult, StudyError> {
        let path = self.cell(number);
        let bytes = fs::read(&path).map_err(|e| cannot("read", &path, &e))?;
        serde_json::from_slice(&bytes)
            .map_err(|e| StudyError(format!("{} is damaged, delete it: {e}", path.display())))
    }

    /// Takes over another folder's cells.
    pub fn take(&self, from: &Self, study: &Study) -> Result<(), StudyError> {
        for number in 0..cells(study) {
            let path = from.cell(number);
            if path.exists() {
                from.load(number)?;
                let bytes = fs::read(&path).map_err(|e| cannot("read", &path, &e))?;
                self.write(&format!("cells/{number:08}.json"), &bytes)?;
            }
        }
        Ok(())
    }

    /// Makes the tables of all cells.
    pub fn assemble(&self, study: &Study) -> Result<Assembled, StudyError> {
        let all: Result<Vec<_>, _> = (0..cells(study)).map(|n| self.load(n)).collect();
        let assembled = Assembled::of(study, &all?)?;
        self.write("measures.csv", assembled.measures.as_bytes())?;
        self.write("tracked.csv", assembled.tracked.as_bytes())?;
        #[cfg(feature = "parquet")]
        {
            self.write("measures.parquet", &assembled.measures_parquet)?;
            self.write("tracked.parquet", &assembled.tracked_parquet)?;
        }
        self.write("summary.json", assembled.summary.as_bytes())?;
        Ok(assembled)
    }

    /// A file, whole or not at all.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StudyError> {
        let path = self.path.join(name);
        whole_file::put(&path, bytes).map_err(|e| {
            let StudyError(what) = cannot("write", &path, &e);
            StudyError(format!(
                "{what}; finished cells are kept: mend that, and go on with --resume"
            ))
        })
    }
}

fn cannot(what: &str, path: &Path, error: &std::io::Error) -> StudyError {
    StudyError(format!("cannot {what} {}: {error}", path.display()))
}
