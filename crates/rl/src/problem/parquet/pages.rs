//! What the footer and the pages of a Parquet file claim, checked before the `parquet` crate takes it for true: a file of a
//! kilobyte may claim pages of 2 GiB, or a list of two billion things.
//!
//! A page begins with a struct of which fields 2 and 3 are its size before and after compression (`PageHeader` of
//! [`super::shapes`]). What follows it is not read here.

use std::{fs::File, io, os::unix::fs::FileExt};

use parquet::{
    basic::Compression,
    file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData},
};

use super::{
    compact::Compact,
    shapes::{FOOTER, PAGE_HEADER},
    tree,
};

/// Longest page header; statistics of long texts are in it.
const HEADER_BYTES_MAX: u64 = 64 << 10;
/// What is read of a page for its header at first; most have some 20 bytes.
const HEADER_BYTES_FIRST: u64 = 256;
/// What a file ends with, after the length of its footer in 4 bytes.
const MAGIC: &[u8; 4] = b"PAR1";
/// What a page may claim beyond the ratio of its compression, for pages of a few bytes.
const CLAIM_SLACK_BYTES: i64 = 1024;

/// Refuses a file with a footer of fields or types that are not Parquet's, or whose schema is no tree; the error is a message.
/// What ends without a footer is left to the crate.
pub(super) fn check_footer(file: &File) -> Result<(), String> {
    let Some(footer) = footer(file).map_err(|error| format!("its footer: {error}"))? else { return Ok(()) };
    let bytes = footer.len();
    if Compact::new(&footer).pass_struct(FOOTER).is_none() {
        return Err(format!("its footer of {bytes} bytes has other fields than Parquet's, or ends early"));
    }
    if tree::is_tree(&footer) != Some(true) {
        return Err(format!("the schema in its footer of {bytes} bytes is no tree of columns, or too deep a one"));
    }
    Ok(())
}

/// The footer; none where the file ends with none.
fn footer(file: &File) -> io::Result<Option<Vec<u8>>> {
    let bytes = file.metadata()?.len();
    let mut end = [0; 8];
    let Some(end_offset) = bytes.checked_sub(end.len() as u64) else { return Ok(None) };
    file.read_exact_at(&mut end, end_offset)?;
    let [length @ .., a, b, c, d] = end;
    let Some(offset) = end_offset.checked_sub(u64::from(u32::from_le_bytes(length))) else { return Ok(None) };
    if [a, b, c, d] != *MAGIC {
        return Ok(None);
    }
    let mut footer = vec![0; (end_offset - offset) as usize];
    file.read_exact_at(&mut footer, offset)?;
    Ok(Some(footer))
}

/// Refuses a file that claims more of the columns that `is_wanted` than their bytes can hold; the error is a message.
pub(super) fn check(file: &File, metadata: &ParquetMetaData, is_wanted: impl Fn(&str) -> bool) -> Result<(), String> {
    let columns = metadata.row_groups().iter().flat_map(RowGroupMetaData::columns);
    let name = |column: &ColumnChunkMetaData| column.column_path().parts().first().cloned().unwrap_or_default();
    let wanted: Vec<_> = columns.map(|column| (name(column), column)).filter(|(name, _)| is_wanted(name)).collect();
    // What several lay claim to is read for each of them.
    let claimed = wanted.iter().map(|(_, column)| column.compressed_size().max(0) as u64).fold(0, u64::saturating_add);
    let bytes = file.metadata().map_err(|error| error.to_string())?.len();
    if claimed > bytes {
        return Err(format!("the columns that are read claim {claimed} bytes together, and it has {bytes}"));
    }
    wanted.into_iter().try_for_each(|(name, column)| {
        check_chunk(file, column).map_err(|message| format!("column `{name}` {message}"))
    })
}

fn check_chunk(file: &File, column: &ColumnChunkMetaData) -> Result<(), String> {
    let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
    let end = start.checked_add(column.compressed_size()).filter(|_| start >= 0 && column.compressed_size() >= 0);
    let end = end.ok_or_else(|| format!("is said to begin at {start} with {} bytes", column.compressed_size()))?;
    let (mut offset, end, ratio_max) = (start as u64, end as u64, ratio_max(column.compression()));
    while offset < end {
        let Ok(page) = Page::at(file, offset, end) else {
            return Err("goes on beyond the end of the file".to_owned());
        };
        let Some(page) = page else {
            return Err(format!("has a page at byte {offset} without a header of at most {HEADER_BYTES_MAX} bytes"));
        };
        let Page { sizes: [uncompressed, compressed], header_bytes } = page;
        if compressed < 0 || uncompressed < 0 || uncompressed > compressed * ratio_max + CLAIM_SLACK_BYTES {
            return Err(format!("has a page of {compressed} bytes that claims to be {uncompressed}"));
        }
        offset += header_bytes as u64 + compressed as u64;
        if offset > end {
            return Err(format!("has a page up to byte {offset}, and ends at {end}"));
        }
    }
    Ok(())
}

/// Somewhat more than the 1,032 bytes that deflate makes of one at most (<https://zlib.net/zlib_tech.html>).
pub(super) const DEFLATE_RATIO_MAX: u64 = 1_033;

/// How many bytes one compressed byte becomes at most, or somewhat more: 21.3 under snappy, whose copies of 3 bytes give 64.
/// What is compressed otherwise than by these two is not read.
fn ratio_max(compression: Compression) -> i64 {
    match compression {
        Compression::UNCOMPRESSED => 1,
        Compression::SNAPPY => 22,
        Compression::GZIP(_)
        | Compression::LZO
        | Compression::BROTLI(_)
        | Compression::LZ4
        | Compression::ZSTD(_)
        | Compression::LZ4_RAW => DEFLATE_RATIO_MAX.cast_signed(),
    }
}

/// What a page's header says.
#[derive(Debug, PartialEq, Eq)]
struct Page {
    /// Bytes before and after compression.
    sizes: [i64; 2],
    header_bytes: usize,
}

impl Page {
    /// The header at `offset` of what ends at `end`; none where there is none. No more is read than some times its bytes.
    fn at(file: &impl FileExt, offset: u64, end: u64) -> io::Result<Option<Self>> {
        let most = HEADER_BYTES_MAX.min(end - offset);
        let mut bytes = HEADER_BYTES_FIRST.min(most);
        loop {
            let mut header = vec![0; bytes as usize];
            file.read_exact_at(&mut header, offset)?;
            let page = Self::read(&header);
            if page.is_some() || bytes == most {
                return Ok(page);
            }
            bytes = (4 * bytes).min(most);
        }
    }

    /// The header that `bytes` begin with; none where they begin with none.
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut header = Compact::new(bytes);
        let mut page = Self { sizes: [-1; 2], header_bytes: 0 };
        header.each_field(|header, field, kind| match (field, kind) {
            (2 | 3, 5) => {
                page.sizes[field as usize - 2] = i32::try_from(header.integer()?).ok()?.into();
                Some(())
            }
            _ => header.pass_field(PAGE_HEADER, field, kind),
        })?;
        page.header_bytes = bytes.len() - header.left();
        Some(page)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Bytes in the place of a file, and how many of them were asked for.
    struct Counted(Vec<u8>, Cell<usize>);

    impl FileExt for Counted {
        fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
            self.1.set(self.1.get() + into.len());
            let rest = self.0.get(offset as usize..).unwrap_or_default();
            let count = rest.len().min(into.len());
            into[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        }

        fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
            panic!("nothing is written")
        }
    }

    #[test]
    fn of_a_page_is_read_what_its_header_may_take() {
        // The type, 1,000 and 100 as zigzag varints, and a text of so many bytes that nobody knows, in field 9.
        let header = |text: usize| {
            let length = [(text & 0x7f) as u8 | 0x80, (text >> 7 & 0x7f) as u8 | 0x80, (text >> 14) as u8];
            let begin = [0x15, 0x00, 0x15, 0xd0, 0x0f, 0x15, 0xc8, 0x01, 0x68];
            [&begin[..], &length, &vec![b'a'; text], &[0]].concat()
        };
        for (text, asked) in [(0, 256), (243, 256), (244, 256 + 1024), (20_000, 256 + 1024 + 4096 + 16384 + 65536)] {
            let (header, values) = (header(text), vec![0x99; 100_000]);
            let file = Counted([&[0; 4], &header[..], &values].concat(), Cell::new(0));
            let page = Page { sizes: [1000, 100], header_bytes: header.len() };
            assert_eq!(Page::at(&file, 4, file.0.len() as u64).unwrap(), Some(page), "{text} bytes");
            assert_eq!(file.1.get(), asked, "{text} bytes");
        }
        let file = Counted(vec![0x99; 100_000], Cell::new(0));
        assert_eq!(Page::at(&file, 0, 50).unwrap(), None);
        assert_eq!(file.1.get(), 50);
        assert!(Page::at(&file, 99_999, 100_001).is_err());
    }

    #[test]
    fn a_page_header_is_read_up_to_its_end() {
        // By hand: a type; 1,000 and 100 as zigzag varints; field 5, a struct of an i32 and of what nobody knows, a list of two
        // binaries and a flag.
        let header = [
            0x15, 0x00, 0x15, 0xd0, 0x0f, 0x15, 0xc8, 0x01, 0x2c, 0x15, 0x02, 0x99, 0x28, 0x01, b'a', 0x00, 0x11, 0x00,
            0x00,
        ];
        let followed = [&header[..], b"values"].concat();
        let page = Page { sizes: [1000, 100], header_bytes: header.len() };
        assert_eq!(Page::read(&followed), Some(page));
        for end in 0..header.len() {
            assert_eq!(Page::read(&header[..end]), None, "{end} bytes");
        }
        let wrong: [&[u8]; 9] = [
            // Lists within lists without an end, a number without one, and a list of more than there is.
            &[0x99; 100],
            &[0x15],
            &[0x15, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0],
            &[0x99, 0xf8, 0xff, 0x7f, 0],
            // What the crate takes for something else: a list of flags, a set, a map, and a page's type that is a struct.
            &[0x99, 0x11, 0x01, 0],
            &[0x9a, 0x13, 0x01, 0],
            &[0x9b, 0x00, 0],
            &[0x1c, 0x00, 0],
            // A size of 2^31.
            &[0x15, 0x00, 0x15, 0x80, 0x80, 0x80, 0x80, 0x10, 0x15, 0xc8, 0x01, 0x00],
        ];
        for wrong in wrong {
            assert_eq!(Page::read(wrong), None, "{wrong:?}");
        }
    }
}
