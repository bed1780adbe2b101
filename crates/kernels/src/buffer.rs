//! Floats and words on cache-line boundaries, so that vector and matrix registers read whole lines and the rows of
//! different threads share none.

use std::ops::{Deref, DerefMut};

use crate::memory;

/// Sixteen words on a cache line of their own.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Line([u32; 16]);

impl Line {
    /// Words of a line.
    pub(crate) const WORDS: usize = 16;
    pub(crate) const ZERO: Self = Self([0; Self::WORDS]);

    /// The words of `lines`, one after the other.
    pub(crate) fn words(lines: &[Self]) -> &[u32] {
        // SAFETY: a line is 16 words without padding.
        unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * Self::WORDS) }
    }

    /// The words of `lines`, one after the other.
    pub(crate) fn words_mut(lines: &mut [Self]) -> &mut [u32] {
        // SAFETY: as above, and this borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len() * Self::WORDS) }
    }

    /// Makes `lines` hold at least `length` lines. New ones are 0; when they grow, the old content is lost: it has no
    /// meaning for those who call.
    pub(crate) fn make_room(lines: &mut Vec<Self>, length: usize) {
        if lines.len() < length {
            *lines = memory::with_room(length);
            lines.resize(length, Self::ZERO);
        }
    }
}

/// The bits of `floats`.
pub(crate) fn words_of(floats: &[f32]) -> &[u32] {
    // SAFETY: a float and a word have the same size and alignment, and any float is a word.
    unsafe { std::slice::from_raw_parts(floats.as_ptr().cast(), floats.len()) }
}

/// Copies `from` to the beginning of `to`, line by line: for rows that are too short to be worth a call.
#[inline(always)]
pub(crate) fn copy_lines<T: Copy>(to: &mut [T], from: &[T]) {
    let to = &mut to[..from.len()];
    let ((lines, rest), (from_lines, from_rest)) = (to.as_chunks_mut::<{ Line::WORDS }>(), from.as_chunks());
    for (to, from) in lines.iter_mut().zip(from_lines) {
        *to = *from;
    }
    rest.copy_from_slice(from_rest);
}

/// A vector of floats that starts on a cache line. Keeps its memory from use to use.
#[derive(Debug, Clone, Default)]
pub struct Buffer {
    lines: Vec<Line>,
    length: usize,
}

impl Buffer {
    /// An empty one.
    pub const fn new() -> Self {
        Self { lines: Vec::new(), length: 0 }
    }

    /// Sets the length; new elements hold whatever was there, at first 0.
    pub fn resize(&mut self, length: usize) -> &mut [f32] {
        Line::make_room(&mut self.lines, length.div_ceil(Line::WORDS));
        self.length = length;
        self
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: the lines are at least `length` words, and any word is a float.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.length) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above, and this borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.length) }
    }
}

/// A vector of words that starts on a cache line. Keeps its memory from use to use.
#[derive(Debug, Clone, Default)]
pub(crate) struct Words {
    lines: Vec<Line>,
}

impl Words {
    /// At least `length` words, whatever they hold; at first 0.
    pub(crate) fn with_room(&mut self, length: usize) -> &mut [u32] {
        Line::make_room(&mut self.lines, length.div_ceil(Line::WORDS));
        Line::words_mut(&mut self.lines)
    }
}

impl Deref for Words {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        Line::words(&self.lines)
    }
}

impl DerefMut for Words {
    fn deref_mut(&mut self) -> &mut [u32] {
        Line::words_mut(&mut self.lines)
    }
}
