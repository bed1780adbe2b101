//! Bounded reading of a GGUF header: every length is checked against the bytes that are left before anything is
//! allocated, so a hostile file gives an error.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufReader, Read},
    path::Path,
};

use crate::ModelError;

/// Vocabularies of 256 thousand tokens take about 15 MB; the bound keeps a hostile header from filling memory.
const HEADER_BYTES_MAX: u64 = 128 << 20;

/// A metadata value; integers and floats of all widths are widened.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Integer(i128),
    Float(f64),
    Flag(bool),
    Text(String),
    Integers(Vec<i64>),
    Floats(Vec<f64>),
    Flags(Vec<bool>),
    Texts(Vec<String>),
}

impl Value {
    /// What it is, for messages.
    fn kind(&self) -> &'static str {
        match self {
            Value::Integer(_) => "an integer",
            Value::Float(_) => "a float",
            Value::Flag(_) => "a flag",
            Value::Text(_) => "a text",
            Value::Integers(_) => "a list of integers",
            Value::Floats(_) => "a list of floats",
            Value::Flags(_) => "a list of flags",
            Value::Texts(_) => "a list of texts",
        }
    }
}

/// The metadata of a file: key → value, with typed look-ups whose errors are messages naming the key.
#[derive(Debug, Default)]
pub(super) struct Metadata(pub(super) BTreeMap<String, Value>);

/// Defines a look-up of a value of one kind that may be missing.
macro_rules! look_up {
    ($name:ident, $variant:ident, $result:ty, $expected:literal) => {
        pub(super) fn $name(&self, key: &str) -> Result<Option<&$result>, String> {
            match self.0.get(key) {
                None => Ok(None),
                Some(Value::$variant(value)) => Ok(Some(value)),
                Some(other) => Err(format!("`{key}` is {} where {} belongs", other.kind(), $expected)),
            }
        }
    };
}

impl Metadata {
    look_up!(text, Text, str, "a text");
    look_up!(texts, Texts, [String], "a list of texts");
    look_up!(integers, Integers, [i64], "a list of integers");
    look_up!(flag, Flag, bool, "a flag");
    look_up!(any_float, Float, f64, "a float");
    look_up!(integer, Integer, i128, "an integer");

    /// A number that may be missing, and is finite.
    pub(super) fn float(&self, key: &str) -> Result<Option<&f64>, String> {
        match self.any_float(key)? {
            Some(value) if !value.is_finite() => Err(format!("`{key}` is {value}, not a finite number")),
            value => Ok(value),
        }
    }

    /// A count that may be missing.
    pub(super) fn count(&self, key: &str) -> Result<Option<usize>, String> {
        let Some(value) = self.integer(key)? else { return Ok(None) };
        // A dimension beyond this is no dimension; the bound keeps products of two within 64 bits.
        match usize::try_from(*value) {
            Ok(count) if i32::try_from(count).is_ok() => Ok(Some(count)),
            Ok(_) | Err(_) => Err(format!("`{key}` is {value}, not a count up to {}", i32::MAX)),
        }
    }
}

/// `Err` naming `key` when a required value is missing.
pub(super) fn required<T>(value: Option<T>, key: &str) -> Result<T, String> {
    value.ok_or_else(|| format!("has no `{key}`; convert the model again with a current llama.cpp"))
}

/// Reads a header from its beginning; keeps count of the bytes that are left.
pub(super) struct HeaderReader<'a> {
    path: &'a Path,
    input: BufReader<&'a File>,
    position: u64,
    end: u64,
}

impl<'a> HeaderReader<'a> {
    /// Reads `file`, which has `file_bytes` bytes, from where it stands: its beginning.
    pub(super) fn new(path: &'a Path, file: &'a File, file_bytes: u64) -> Self {
        Self { path, input: BufReader::new(file), position: 0, end: file_bytes.min(HEADER_BYTES_MAX) }
    }

    /// How many bytes have been read.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The error that the header is unusable because of `message`.
    pub(super) fn error(&self, message: &str) -> ModelError {
        let message = format!("not a usable GGUF file: {message} (at byte {})", self.position);
        ModelError::File { path: self.path.to_owned(), message }
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], ModelError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), ModelError> {
        if bytes.len() as u64 > self.end - self.position {
            return Err(self.error("the header ends early or exceeds 128 MiB; download the file again"));
        }
        let failed = |source| ModelError::Io { action: "read", path: self.path.to_owned(), source };
        self.input.read_exact(bytes).map_err(failed)?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    /// The next 32-bit number.
    pub(super) fn u32(&mut self) -> Result<u32, ModelError> {
        Ok(u32::from_le_bytes(self.bytes()?))
    }

    /// The next 64-bit number.
    pub(super) fn u64(&mut self) -> Result<u64, ModelError> {
        Ok(u64::from_le_bytes(self.bytes()?))
    }

    /// The next 64-bit number as a count of items that take at least `item_bytes` of this header each.
    pub(super) fn item_count(&mut self, item_bytes: u64) -> Result<usize, ModelError> {
        let count = self.u64()?;
        if count > (self.end - self.position) / item_bytes {
            return Err(self.error(&format!("{count} items cannot fit into the header; download the file again")));
        }
        Ok(count as usize)
    }

    /// The next text.
    pub(super) fn text(&mut self) -> Result<String, ModelError> {
        let mut bytes = vec![0; self.item_count(1)?];
        self.fill(&mut bytes)?;
        String::from_utf8(bytes).map_err(|error| self.error(&format!("a text is not UTF-8: {error}")))
    }

    /// The next metadata value.
    pub(super) fn value(&mut self) -> Result<Value, ModelError> {
        let kind = self.u32()?;
        match kind {
            8 => Ok(Value::Text(self.text()?)),
            9 => self.list(),
            7 => Ok(Value::Flag(self.flag()?)),
            6 | 12 => Ok(Value::Float(self.float(kind)?)),
            _ => Ok(Value::Integer(self.integer(kind)?)),
        }
    }

    fn list(&mut self) -> Result<Value, ModelError> {
        let kind = self.u32()?;
        let item_bytes = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            8 | 10..=12 => 8,
            _ => return Err(self.error(&format!("a list has items of type {kind}, which is not read"))),
        };
        let count = self.item_count(item_bytes)?;
        match kind {
            8 => (0..count).map(|_| self.text()).collect::<Result<_, _>>().map(Value::Texts),
            7 => (0..count).map(|_| self.flag()).collect::<Result<_, _>>().map(Value::Flags),
            6 | 12 => (0..count).map(|_| self.float(kind)).collect::<Result<_, _>>().map(Value::Floats),
            _ => (0..count).map(|_| self.list_integer(kind)).collect::<Result<_, _>>().map(Value::Integers),
        }
    }

    fn list_integer(&mut self, kind: u32) -> Result<i64, ModelError> {
        let integer = self.integer(kind)?;
        i64::try_from(integer).map_err(|_| self.error(&format!("a list holds {integer}, beyond 63 bits")))
    }

    fn flag(&mut self) -> Result<bool, ModelError> {
        match self.bytes::<1>()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(self.error(&format!("a flag is {other} where 0 or 1 belongs"))),
        }
    }

    fn float(&mut self, kind: u32) -> Result<f64, ModelError> {
        if kind == 12 {
            return Ok(f64::from_le_bytes(self.bytes()?));
        }
        // The shortest decimal of the f32 rather than its 53-bit neighbour: 1e-5 is to stay 1e-5 in config.json.
        let value = f32::from_le_bytes(self.bytes()?);
        Ok(value.to_string().parse().unwrap_or(f64::from(value)))
    }

    fn integer(&mut self, kind: u32) -> Result<i128, ModelError> {
        Ok(match kind {
            0 => i128::from(u8::from_le_bytes(self.bytes()?)),
            1 => i128::from(i8::from_le_bytes(self.bytes()?)),
            2 => i128::from(u16::from_le_bytes(self.bytes()?)),
            3 => i128::from(i16::from_le_bytes(self.bytes()?)),
            4 => i128::from(u32::from_le_bytes(self.bytes()?)),
            5 => i128::from(i32::from_le_bytes(self.bytes()?)),
            10 => i128::from(u64::from_le_bytes(self.bytes()?)),
            11 => i128::from(i64::from_le_bytes(self.bytes()?)),
            _ => return Err(self.error(&format!("a value has the unknown type {kind}"))),
        })
    }
}
