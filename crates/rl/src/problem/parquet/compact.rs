//! Structs in [Thrift's compact protocol][thrift], passed over and checked field by field.
//!
//! A list says how many elements it has, and elements of some types take no byte: a few bytes of a file may hold the
//! `parquet` crate for minutes, with two billion things that are not there. Nothing of that kind gets past this.
//!
//! [thrift]: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md

use super::shapes::Fields;

/// Structs and lists within one another, at most.
const DEPTH_MAX: usize = 16;
/// Most that a field's number can be.
const NUMBER_MAX: i64 = i16::MAX as i64;

/// What a value must be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    Bool,
    Byte,
    I16,
    I32,
    I64,
    Double,
    Binary,
    List(&'static Self),
    /// A struct or a union. Fields of other numbers may be anything that takes bytes.
    Struct(Fields),
}

impl Shape {
    /// Whether the protocol's type `kind` is this one's.
    fn is(self, kind: u8) -> bool {
        match self {
            Self::Bool => kind == 1 || kind == 2,
            Self::Byte => kind == 3,
            Self::I16 => kind == 4,
            Self::I32 => kind == 5,
            Self::I64 => kind == 6,
            Self::Double => kind == 7,
            Self::Binary => kind == 8,
            Self::List(_) => kind == 9,
            Self::Struct(_) => kind == 12,
        }
    }
}

/// What field `number` must be; none where nobody knows it.
fn shape_of(fields: Fields, number: i64) -> Option<Shape> {
    fields.iter().find(|(known, _)| *known == number).map(|(_, shape)| *shape)
}

/// What is left of a value in the compact protocol. Every function returns nothing where the bytes are none.
pub(super) struct Compact<'a> {
    rest: &'a [u8],
}

impl<'a> Compact<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

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
    pub(super) fn integer(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1).cast_signed() ^ -((value & 1).cast_signed()))
    }

    /// Hands each field of a struct to `field`, with its number and the type of its value, which `field` reads.
    pub(super) fn each_field(&mut self, mut field: impl FnMut(&mut Self, i64, u8) -> Option<()>) -> Option<()> {
        let mut number: i64 = 0;
        loop {
            let byte = self.byte()?;
            if byte == 0 {
                return Some(());
            }
            let delta = i64::from(byte >> 4);
            number = if delta == 0 { self.integer()? } else { number + delta };
            if !(1..=NUMBER_MAX).contains(&number) {
                return None;
            }
            field(self, number, byte & 0xf)?;
        }
    }

    /// Passes over a struct.
    pub(super) fn pass_struct(&mut self, fields: Fields) -> Option<()> {
        self.pass(12, Some(Shape::Struct(fields)), DEPTH_MAX)
    }

    /// Passes over the value of field `number` among `fields`, which is said to be of type `kind`.
    pub(super) fn pass_field(&mut self, fields: Fields, number: i64, kind: u8) -> Option<()> {
        self.pass(kind, shape_of(fields, number), DEPTH_MAX)
    }

    /// Passes over a field's value of type `kind`, which must be of `shape` where there is one.
    fn pass(&mut self, kind: u8, shape: Option<Shape>, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        if shape.is_some_and(|shape| !shape.is(kind)) {
            return None;
        }
        match kind {
            // The type is the value.
            1 | 2 => Some(()),
            3 => self.take(1),
            4..=6 => self.varint().map(drop),
            7 => self.take(8),
            8 => {
                let bytes = self.varint()?;
                self.take(bytes)
            }
            9 => {
                let element = if let Some(Shape::List(element)) = shape { Some(*element) } else { None };
                self.pass_list(element, depth)
            }
            12 => {
                let fields = if let Some(Shape::Struct(fields)) = shape { fields } else { &[] };
                self.each_field(|compact, number, kind| compact.pass(kind, shape_of(fields, number), depth))
            }
            // Parquet has no sets, maps or UUIDs.
            _ => None,
        }
    }

    fn pass_list(&mut self, element: Option<Shape>, depth: usize) -> Option<()> {
        self.each_element(|compact, kind| compact.pass(kind, element, depth))
    }

    /// Hands each element of a list to `element`, with its type, which `element` reads.
    pub(super) fn each_element(&mut self, mut element: impl FnMut(&mut Self, u8) -> Option<()>) -> Option<()> {
        let byte = self.byte()?;
        let count = if byte >> 4 == 15 { self.varint()? } else { u64::from(byte >> 4) };
        match byte & 0xf {
            _ if count == 0 => Some(()),
            // What the crate takes no byte for where it passes over such a list.
            1 | 2 => None,
            // Every other element takes a byte at least, so that what is left bounds the count.
            kind => (0..count).try_for_each(|_| element(self, kind)),
        }
    }
}
