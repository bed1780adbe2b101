//! What the pages of a Parquet file claim, checked before the `parquet` crate takes it for true: a file of a kilobyte may
//! claim pages of 2 GiB.
//!
//! A page begins with a struct in [Thrift's compact protocol][thrift], of which fields 2 and 3 are its size before and after
//! compression (`PageHeader` of [parquet.thrift][parquet]). Nothing else of a page is read here.
//!
//! [thrift]: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
//! [parquet]: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift

use std::{fs::File, os::unix::fs::FileExt};

use parquet::{
    basic::Compression,
    file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData},
};

/// Longest page header; statistics of long texts are in it.
const HEADER_BYTES_MAX: u64 = 64 << 10;
/// Structs within structs of a header, at most.
const DEPTH_MAX: usize = 16;
/// What a page may claim beyond the ratio of its compression, for pages of a few bytes.
const CLAIM_SLACK_BYTES: i64 = 1024;

/// Refuses a file that claims more of the columns that `is_wanted` than their bytes can hold; the error is a message.
pub(super) fn check(file: &File, metadata: &ParquetMetaData, is_wanted: impl Fn(&str) -> bool) -> Result<(), String> {
    for column in metadata.row_groups().iter().flat_map(RowGroupMetaData::columns) {
        let name = column.column_path().parts().first().map_or("", String::as_str);
        if is_wanted(name) {
            check_chunk(file, column).map_err(|message| format!("column `{name}` {message}"))?;
        }
    }
    Ok(())
}

fn check_chunk(file: &File, column: &ColumnChunkMetaData) -> Result<(), String> {
    let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
    let end = start.checked_add(column.compressed_size()).filter(|_| start >= 0 && column.compressed_size() >= 0);
    let end = end.ok_or_else(|| format!("is said to begin at {start} with {} bytes", column.compressed_size()))?;
    let (mut offset, end, ratio_max) = (start as u64, end as u64, ratio_max(column.compression()));
    while offset < end {
        let mut header = vec![0; HEADER_BYTES_MAX.min(end - offset) as usize];
        if file.read_exact_at(&mut header, offset).is_err() {
            return Err("goes on beyond the end of the file".to_owned());
        }
        let Some(page) = Page::read(&header) else {
            // The `parquet` crate takes minutes to pass over two billion things that are not there.
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

/// How many bytes one compressed byte becomes at most, or somewhat more: 21.3 under snappy, whose copies of 3 bytes give 64;
/// 1,032 under deflate (<https://zlib.net/zlib_tech.html>). The rest is not read.
fn ratio_max(compression: Compression) -> i64 {
    match compression {
        Compression::UNCOMPRESSED => 1,
        Compression::SNAPPY => 22,
        Compression::GZIP(_)
        | Compression::LZO
        | Compression::BROTLI(_)
        | Compression::LZ4
        | Compression::ZSTD(_)
        | Compression::LZ4_RAW => 1_033,
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
    /// The header that `bytes` begin with; none where they begin with none.
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut header = Compact { rest: bytes };
        let mut page = Self { sizes: [-1; 2], header_bytes: 0 };
        header.each_field(|header, field, kind| match (field, kind) {
            (2 | 3, 5) => header.integer().map(|size| page.sizes[field as usize - 2] = size),
            _ => header.skip(kind, DEPTH_MAX),
        })?;
        page.header_bytes = bytes.len() - header.rest.len();
        Some(page)
    }
}

/// What is left of a value in the compact protocol.
struct Compact<'a> {
    rest: &'a [u8],
}

impl Compact<'_> {
    fn take(&mut self, bytes: u64) -> Option<()> {
        self.rest = self.rest.get(usize::try_from(bytes).ok()?..)?;
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// A signed number, zigzag.
    fn integer(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1).cast_signed() ^ -((value & 1).cast_signed()))
    }

    /// Hands each field of a struct to `field`, with its number and the type of its value, which `field` reads.
    fn each_field(&mut self, mut field: impl FnMut(&mut Self, i64, u8) -> Option<()>) -> Option<()> {
        let mut number: i64 = 0;
        loop {
            let byte = self.byte()?;
            if byte == 0 {
                return Some(());
            }
            let delta = i64::from(byte >> 4);
            number = if delta == 0 { self.integer()? } else { number.checked_add(delta)? };
            field(self, number, byte & 0xf)?;
        }
    }

    /// Passes over a value of type `kind`, with up to `depth` structs within one another.
    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            // Of a field the type is the value; of an element of a list it is a byte.
            1 | 2 => Some(()),
            3 => self.take(1),
            4..=6 => self.varint().map(drop),
            7 => self.take(8),
            8 => {
                let bytes = self.varint()?;
                self.take(bytes)
            }
            9 | 10 => self.skip_list(depth),
            12 => self.each_field(|header, _, kind| header.skip(kind, depth)),
            // A header has no map.
            _ => None,
        }
    }

    fn skip_list(&mut self, depth: usize) -> Option<()> {
        let byte = self.byte()?;
        let count = if byte >> 4 == 15 { self.varint()? } else { u64::from(byte >> 4) };
        match byte & 0xf {
            1..=3 => self.take(count),
            // Every other element takes a byte at least, so that what is left bounds the count.
            kind => (0..count).try_for_each(|_| self.skip(kind, depth)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_header_is_read_up_to_its_end() {
        // By hand: a type; 1,000 and 100 as zigzag varints; field 5, a struct of an i32, a list of two binaries and a flag.
        let header = [
            0x15, 0x00, 0x15, 0xd0, 0x0f, 0x15, 0xc8, 0x01, 0x2c, 0x15, 0x02, 0x19, 0x28, 0x01, b'a', 0x00, 0x11, 0x00,
            0x00,
        ];
        let followed = [&header[..], b"values"].concat();
        let page = Page { sizes: [1000, 100], header_bytes: header.len() };
        assert_eq!(Page::read(&followed), Some(page));
        for end in 0..header.len() {
            assert_eq!(Page::read(&header[..end]), None, "{end} bytes");
        }
        // Lists within lists without an end, a number without one, and a list of more than there is.
        for wrong in
            [vec![0x99; 100], vec![0x15; 1], [&[0x15][..], &[0xff; 12]].concat(), vec![0x19, 0xf8, 0xff, 0x7f, 0]]
        {
            assert_eq!(Page::read(&wrong), None, "{wrong:?}");
        }
    }
}
