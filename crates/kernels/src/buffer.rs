//! Floats on cache-line boundaries, so that vector stores and the rows of different threads share no line.

use std::ops::{Deref, DerefMut};

use crate::memory;

#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

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
        let lines = length.div_ceil(16);
        if self.lines.len() < lines {
            // Grown at once rather than copied: the old content has no meaning.
            self.lines = memory::with_room(lines);
            self.lines.resize(lines, Line([0.0; 16]));
        }
        self.length = length;
        self
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: the lines are at least `length` floats without padding.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.length) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above, and this borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.length) }
    }
}
