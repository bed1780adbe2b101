//! Lines of a file or of standard input in batches, none larger than a bound. Knows nothing of what the lines hold.

use std::io::{self, BufRead, BufReader, Read};

/// Longest line that is read, bytes.
pub(super) const LINE_BYTES_MAX: u64 = 64 << 20;

/// A batch ends after this many lines or bytes, or sooner where no more input has arrived.
const BATCH_LINES: usize = 256;
const BATCH_BYTES: u64 = 1 << 20;

/// What stood between two line breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Text {
    /// All of it, without the line break.
    Whole(Vec<u8>),
    /// More than the longest line that is read; none of it is kept.
    TooLong,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// From 1.
    pub(super) number: u64,
    pub(super) text: Text,
}

/// Neighbouring lines, at least one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) lines: Vec<Line>,
    /// Bytes that they took, line breaks included.
    pub(super) bytes: u64,
}

/// A source of lines.
pub(super) struct Lines {
    source: BufReader<Box<dyn Read + Send>>,
    number: u64,
    line_bytes_max: u64,
}

impl Lines {
    pub(super) fn new(source: Box<dyn Read + Send>, line_bytes_max: u64) -> Self {
        Self { source: BufReader::with_capacity(1 << 16, source), number: 0, line_bytes_max }
    }

    /// The next lines; `None` at the end. Does not wait for a second line when one has arrived.
    pub(super) fn next_batch(&mut self) -> io::Result<Option<Batch>> {
        let mut batch = Batch { lines: Vec::new(), bytes: 0 };
        while let Some((line, bytes)) = self.next_line()? {
            batch.lines.push(line);
            batch.bytes += bytes;
            let full = batch.lines.len() == BATCH_LINES || batch.bytes >= BATCH_BYTES;
            if full || self.source.buffer().is_empty() {
                break;
            }
        }
        Ok(if batch.lines.is_empty() { None } else { Some(batch) })
    }

    /// The next line with the bytes that it took.
    fn next_line(&mut self) -> io::Result<Option<(Line, u64)>> {
        let mut text = Vec::new();
        let mut bytes = self.source.by_ref().take(self.line_bytes_max + 1).read_until(b'\n', &mut text)? as u64;
        if bytes == 0 {
            return Ok(None);
        }
        self.number += 1;
        let number = self.number;
        if text.last() == Some(&b'\n') {
            text.pop();
        } else if bytes > self.line_bytes_max {
            bytes += self.skip_line()?;
            return Ok(Some((Line { number, text: Text::TooLong }, bytes)));
        }
        Ok(Some((Line { number, text: Text::Whole(text) }, bytes)))
    }

    /// Passes over the rest of a line; its bytes.
    fn skip_line(&mut self) -> io::Result<u64> {
        let mut skipped = 0;
        loop {
            let buffer = self.source.fill_buf()?;
            let end = buffer.iter().position(|&byte| byte == b'\n');
            let (bytes, ended) = (end.map_or(buffer.len(), |end| end + 1), end.is_some() || buffer.is_empty());
            self.source.consume(bytes);
            skipped += bytes as u64;
            if ended {
                return Ok(skipped);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &'static str, line_bytes_max: u64) -> (Vec<Text>, u64) {
        let mut lines = Lines::new(Box::new(text.as_bytes()), line_bytes_max);
        let (mut texts, mut bytes) = (Vec::new(), 0);
        while let Some(batch) = lines.next_batch().unwrap() {
            texts.extend(batch.lines.into_iter().map(|line| line.text));
            bytes += batch.bytes;
        }
        (texts, bytes)
    }

    #[test]
    fn lines_are_bounded_and_what_follows_a_long_one_is_read() {
        let whole = |text: &str| Text::Whole(text.as_bytes().to_vec());
        for (text, expected) in [
            ("", vec![]),
            ("a", vec![whole("a")]),
            ("a\n", vec![whole("a")]),
            ("a\n\nb\r\n", vec![whole("a"), whole(""), whole("b\r")]),
            ("abcd\nefgh", vec![whole("abcd"), whole("efgh")]),
            ("abcde\nf\n", vec![Text::TooLong, whole("f")]),
            ("a\nbcdefghijklmnop", vec![whole("a"), Text::TooLong]),
        ] {
            assert_eq!(lines(text, 4), (expected, text.len() as u64), "{text:?}");
        }
    }

    #[test]
    fn a_batch_ends_where_no_more_input_has_arrived() {
        let source = "a\nb\n".as_bytes().chain("c\n".as_bytes());
        let mut lines = Lines::new(Box::new(source), 9);
        let numbers = |batch: Batch| batch.lines.iter().map(|line| line.number).collect::<Vec<_>>();
        assert_eq!(lines.next_batch().unwrap().map(numbers), Some(vec![1, 2]));
        assert_eq!(lines.next_batch().unwrap().map(numbers), Some(vec![3]));
        assert_eq!(lines.next_batch().unwrap().map(numbers), None);
    }
}
