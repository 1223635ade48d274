//! The same tables as Parquet: columns with types, and what stands in a CSV file's first line as the file's metadata. The only
//! file that imports `parquet`, which is compiled with the feature of that name alone.
//!
//! Numbers are `double` or `int64`, a cell that is empty in the CSV is null. One row group holds a million rows at most.

use super::StudyError;
use super::table::Rows;
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use std::fmt::Write;
use std::ops::Range;
use std::sync::Arc;

/// Rows of a row group.
const GROUP: usize = 1_000_000;
/// Under this key stands what a CSV file begins with.
pub(super) const HEAD: &str = "simulations";

/// Columns that hold whole numbers; those that hold text are named by the table; all others hold numbers.
const WHOLE: [&str; 9] = [
    "point",
    "replication",
    "samples",
    "sender",
    "receiver",
    "right",
    "user_right",
    "outputs",
    "group",
];
const TEXT: [&str; 2] = ["measure", "unit"];

#[derive(Clone, Copy)]
enum Kind {
    Whole,
    Number,
    Text,
}

fn kind(table: &Rows<'_>, column: usize) -> Kind {
    let name = table.columns[column];
    if (1..=table.varied()).contains(&column) || TEXT.contains(&name) {
        Kind::Text
    } else if WHOLE.contains(&name) {
        Kind::Whole
    } else {
        Kind::Number
    }
}

fn schema(table: &Rows<'_>) -> String {
    let mut schema = "message table {".to_owned();
    for (column, name) in table.columns.iter().enumerate() {
        let _ = match kind(table, column) {
            Kind::Whole => write!(schema, " required int64 {name};"),
            Kind::Number => write!(schema, " optional double {name};"),
            Kind::Text => write!(schema, " required binary {name} (STRING);"),
        };
    }
    schema + " }"
}

/// A file's bytes, the same for the same table; `head` is the program, its version, the seed and the scenario.
pub(super) fn encode(table: &Rows<'_>, head: &str) -> Result<Vec<u8>, StudyError> {
    write(table, head).map_err(|e| StudyError(format!("cannot make Parquet of a table: {e}")))
}

fn write(table: &Rows<'_>, head: &str) -> Result<Vec<u8>, ParquetError> {
    let head = KeyValue::new(HEAD.to_owned(), head.to_owned());
    let properties = WriterProperties::builder()
        .set_created_by(format!("simulations {}", env!("CARGO_PKG_VERSION")))
        .set_key_value_metadata(Some(vec![head]))
        .build();
    let schema = Arc::new(parse_message_type(&schema(table))?);
    let mut file = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties))?;
    for first in (0..table.len()).step_by(GROUP) {
        let rows = first..table.len().min(first + GROUP);
        let mut group = file.next_row_group()?;
        for column in 0..table.columns.len() {
            write_column(table, column, rows.clone(), &mut group)?;
        }
        group.close()?;
    }
    file.into_inner()
}

fn write_column(
    table: &Rows<'_>,
    column: usize,
    rows: Range<usize>,
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
) -> Result<(), ParquetError> {
    let name = table.columns[column];
    let cells = || rows.clone().map(|row| table.cell(row, column));
    let wrong = |cell: &str| ParquetError::General(format!("{cell:?} in the column {name}"));
    let mut writer = group
        .next_column()?
        .ok_or_else(|| ParquetError::General(format!("no place for the column {name}")))?;
    match kind(table, column) {
        Kind::Whole => {
            let parse = |cell: &str| cell.parse().map_err(|_| wrong(cell));
            let values = cells().map(parse).collect::<Result<Vec<i64>, _>>()?;
            let writer = writer.typed::<Int64Type>();
            writer.write_batch(&values, None, None)?;
        }
        Kind::Number => {
            let there = cells().filter(|cell| !cell.is_empty());
            let parse = |cell: &str| cell.parse().map_err(|_| wrong(cell));
            let values = there.map(parse).collect::<Result<Vec<f64>, _>>()?;
            let levels: Vec<_> = cells().map(|cell| i16::from(!cell.is_empty())).collect();
            let writer = writer.typed::<DoubleType>();
            writer.write_batch(&values, Some(&levels), None)?;
        }
        Kind::Text => {
            let values: Vec<_> = cells().map(ByteArray::from).collect();
            let writer = writer.typed::<ByteArrayType>();
            writer.write_batch(&values, None, None)?;
        }
    }
    writer.close()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario_file::Study;
    use crate::study::{self, Assembled};
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::Field;
    use std::path::Path;
    use std::sync::Mutex;

    /// Every cell of the CSV, read back from the Parquet file, and the head.
    fn assert_equal(csv: &str, parquet: Vec<u8>) -> usize {
        let reader = SerializedFileReader::new(bytes::Bytes::from(parquet)).unwrap();
        let metadata = reader.metadata().file_metadata();
        let head = metadata.key_value_metadata().unwrap();
        let mut lines = csv.lines();
        let first = lines.next().unwrap().strip_prefix("# ").unwrap();
        assert!(
            head.iter()
                .any(|kv| kv.key == HEAD && kv.value.as_deref() == Some(first))
        );
        let names: Vec<_> = lines
            .next()
            .unwrap()
            .split(',')
            .map(str::to_owned)
            .collect();
        let mut rows = 0;
        for (line, row) in lines.zip(reader.get_row_iter(None).unwrap()) {
            let row = row.unwrap();
            let cells = row.get_column_iter().map(|(name, field)| {
                #[expect(
                    clippy::wildcard_enum_match_arm,
                    reason = "a table has these kinds alone"
                )]
                let cell = match field {
                    Field::Null => String::new(),
                    Field::Long(x) => x.to_string(),
                    Field::Double(x) => x.to_string(),
                    Field::Str(x) => x.clone(),
                    other => panic!("{other:?}"),
                };
                (name.clone(), cell)
            });
            let (theirs, cells): (Vec<_>, Vec<_>) = cells.unzip();
            assert_eq!(theirs, names);
            let quoted: Vec<_> = cells
                .iter()
                .map(|c| super::super::table::quoted(c))
                .collect();
            assert_eq!(quoted.join(","), line);
            rows += 1;
        }
        assert_eq!(rows, csv.lines().count() - 2);
        rows
    }

    #[test]
    fn what_is_read_back_is_what_the_csv_says() {
        let scenario = r#"
            name = "two points, \"quoted\""
            seed = 7
            replications = 2
            [network]
            design = "bare"
            width = 3
            mean_delay = "50ms"
            [workload]
            kind = "poisson"
            users = 30
            rate = "4/s"
            duration = "20s"
            [measure]
            targets = 20
            [sweep]
            mode = "grid"
            vary = [{ key = "network.mean_delay", values = ["50ms", "100ms"] }]
        "#;
        let study = Study::parse(scenario).unwrap();
        let results = Mutex::new(Vec::new());
        let store = |result| {
            results.lock().unwrap().push(result);
            Ok(())
        };
        let wanted: Vec<_> = (0..study::cells(&study)).collect();
        study::run(&study, Path::new("."), &wanted, 1, &store, &|_, _| {}).unwrap();
        let results = results.into_inner().unwrap();
        let all = Assembled::of(&study, &results).unwrap();
        let again = Assembled::of(&study, &results).unwrap();
        assert!(all.measures_parquet == again.measures_parquet);
        assert!(assert_equal(&all.measures, all.measures_parquet) > 20);
        assert!(assert_equal(&all.tracked, all.tracked_parquet) >= 80);
    }
}
