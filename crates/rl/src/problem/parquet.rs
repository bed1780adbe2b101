//! Rows of a Parquet file, through the `parquet` crate's record interface (no Arrow).
//!
//! Compression: none, snappy and gzip, all in Rust. Zstandard is left out because the crate's decoder is a C library.
//! Columns that nobody asked for are not decoded.

mod compact;
mod guard;
mod pages;
mod shapes;
mod tree;

use std::{collections::BTreeSet, fs::File, path::Path, sync::Arc};

use parquet::{
    basic::{ConvertedType, Repetition, Type as PhysicalType},
    errors::ParquetError,
    file::reader::{FileReader, SerializedFileReader},
    record::Field,
    schema::types::Type,
};

use super::row::{Cell, Row, number_cell};
use crate::RlError;

/// The rows of `path`. Every row has a cell for every top-level column; those not in `wanted` are not read.
pub(super) fn read(path: &Path, wanted: &[&str]) -> Result<Vec<Row>, RlError> {
    let file = record::read::open(path).map_err(|source| RlError::Io {
        action: "open the file",
        path: path.to_owned(),
        source,
    })?;
    let read = guard::guarded(|| read_columns(file, wanted).map_err(|error| error.to_string()));
    read.unwrap_or_else(|panic| Err(format!("the parquet crate gives up, with `{panic}`"))).map_err(|fault| {
        let message = format!(
            "cannot be read as Parquet: {fault}; write it anew uncompressed or with snappy or gzip, or as JSONL"
        );
        RlError::File { path: path.to_owned(), message }
    })
}

fn read_columns(file: File, wanted: &[&str]) -> Result<Vec<Row>, ParquetError> {
    pages::check_footer(&file).map_err(ParquetError::General)?;
    let sized = file.try_clone()?;
    let file_bytes = file.metadata()?.len();
    let reader = SerializedFileReader::new(file)?;
    let metadata = reader.metadata().file_metadata();
    let root = metadata.schema();
    refuse_twice(root, wanted).map_err(ParquetError::General)?;
    let read: Vec<Arc<Type>> = root
        .get_fields()
        .iter()
        .filter(|column| wanted.contains(&column.name()) && is_readable(column))
        .cloned()
        .collect();
    let unread = root.get_fields().iter().filter(|column| !read.iter().any(|other| other.name() == column.name()));
    let unread: Vec<_> = unread.map(|column| (column.name().to_owned(), Cell::Other("nested or a time"))).collect();
    let mut allowance = Allowance::new(file_bytes, unread.iter().map(|(name, _)| name.len()));
    if read.is_empty() {
        // The record reader needs a column; one row is enough to say that the wanted ones are missing.
        let first = (metadata.num_rows() > 0).then(|| Row { number: 1, cells: unread.into_iter().collect() });
        return Ok(first.into_iter().collect());
    }
    pages::check(&sized, reader.metadata(), |name| read.iter().any(|column| column.name() == name))
        .map_err(ParquetError::General)?;
    let projection = Type::group_type_builder(root.name()).with_fields(read).build()?;
    let rows = reader.get_row_iter(Some(projection))?.enumerate().map(|(index, row)| {
        let cells = row?.into_columns().into_iter().map(|(name, field)| (name, cell(field)));
        let row = Row { number: index + 1, cells: cells.chain(unread.iter().cloned()).collect() };
        allowance.take(&row).map_err(ParquetError::General)?;
        Ok(row)
    });
    rows.collect()
}

/// Refuses a wanted name that two columns have, of which a row could hold but one; the error is a message.
fn refuse_twice(root: &Type, wanted: &[&str]) -> Result<(), String> {
    let mut names = BTreeSet::new();
    let mut columns = root.get_fields().iter().filter(|column| wanted.contains(&column.name()));
    match columns.find(|column| !names.insert(column.name())) {
        None => Ok(()),
        Some(column) => Err(format!("it has two columns `{}` where it may have one", column.name())),
    }
}

/// Bytes that rows may still take. A text that many rows have stands in a file once, and a thousand rows of it take three
/// bytes: nothing but this bounds what comes of a small file, at as much as deflate makes of a byte.
struct Allowance {
    left: u64,
    file_bytes: u64,
    /// What every row takes, whatever its texts.
    row_bytes: u64,
}

impl Allowance {
    /// About what a row takes beside its texts and the cells that are not read.
    const ROW_BYTES: u64 = 1024;
    /// About what a cell takes beside its name.
    const CELL_BYTES: u64 = 64;

    /// That of a file of so many bytes, with names of so many bytes for each cell of a row that is not read.
    fn new(file_bytes: u64, unread: impl Iterator<Item = usize>) -> Self {
        let unread: u64 = unread.map(|name_bytes| Self::CELL_BYTES + name_bytes as u64).sum();
        let left = file_bytes.saturating_mul(pages::DEFLATE_RATIO_MAX);
        Self { left, file_bytes, row_bytes: Self::ROW_BYTES + unread }
    }

    fn take(&mut self, row: &Row) -> Result<(), String> {
        let texts = row.cells.values().map(|cell| match cell {
            Cell::Text(text) | Cell::Number(text) => text.len() as u64,
            Cell::Null | Cell::Other(_) => 0,
        });
        let left = self.left.checked_sub(self.row_bytes + texts.sum::<u64>());
        self.left = left.ok_or_else(|| {
            let (ratio, bytes) = (pages::DEFLATE_RATIO_MAX, self.file_bytes);
            format!("at row {} its rows take more than {ratio} times its {bytes} bytes", row.number)
        })?;
        Ok(())
    }
}

/// Whether the record interface can turn the column into text or a number: it panics on times, and nested columns
/// are of no use here.
fn is_readable(column: &Type) -> bool {
    let kind = column.get_basic_info();
    let is_flat = column.is_primitive() && kind.repetition() != Repetition::REPEATED;
    let is_value = matches!(
        kind.converted_type(),
        ConvertedType::NONE
            | ConvertedType::UTF8
            | ConvertedType::ENUM
            | ConvertedType::JSON
            | ConvertedType::DECIMAL
            | ConvertedType::INT_8
            | ConvertedType::INT_16
            | ConvertedType::INT_32
            | ConvertedType::INT_64
            | ConvertedType::UINT_8
            | ConvertedType::UINT_16
            | ConvertedType::UINT_32
            | ConvertedType::UINT_64
    );
    is_flat && is_value && column.get_physical_type() != PhysicalType::INT96
}

/// Floats print as the shortest decimal that reads back as the same value.
fn cell(field: Field) -> Cell {
    match field {
        Field::Null => Cell::Null,
        Field::Str(text) => Cell::Text(text),
        Field::Byte(value) => Cell::Number(value.to_string()),
        Field::Short(value) => Cell::Number(value.to_string()),
        Field::Int(value) => Cell::Number(value.to_string()),
        Field::Long(value) => Cell::Number(value.to_string()),
        Field::UByte(value) => Cell::Number(value.to_string()),
        Field::UShort(value) => Cell::Number(value.to_string()),
        Field::UInt(value) => Cell::Number(value.to_string()),
        Field::ULong(value) => Cell::Number(value.to_string()),
        Field::Float16(value) => number_cell(&value.to_f32().to_string()),
        Field::Float(value) => number_cell(&value.to_string()),
        Field::Double(value) => number_cell(&value.to_string()),
        Field::Decimal(_) => number_cell(&field.to_string()),
        Field::Bool(_) => Cell::Other("true or false"),
        Field::Bytes(_) => Cell::Other("bytes that the file does not mark as text"),
        Field::Date(_)
        | Field::TimeMillis(_)
        | Field::TimeMicros(_)
        | Field::TimestampMillis(_)
        | Field::TimestampMicros(_) => Cell::Other("a time"),
        Field::Group(_) | Field::ListInternal(_) | Field::MapInternal(_) => Cell::Other("nested"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_that_are_not_read_count_against_what_rows_may_take() {
        let rows = |unread: &[usize]| {
            let mut allowance = Allowance::new(1000, unread.iter().copied());
            let row = |number| Row { number, cells: [("a".to_owned(), Cell::Text("b".repeat(9)))].into() };
            (1..).find_map(|number| allowance.take(&row(number)).err().map(|message| (number, message))).unwrap()
        };
        // 1,033,000 bytes, of which a row takes 1,024 and its text; then 300 cells with names of 16 bytes, too.
        assert_eq!(rows(&[]).0, 1_033_000 / 1_033 + 1);
        let (number, message) = rows(&[16; 300]);
        assert_eq!(number, 1_033_000 / (1_033 + 300 * 80) + 1);
        assert_eq!(message, format!("at row {number} its rows take more than 1033 times its 1000 bytes"));
    }
}
