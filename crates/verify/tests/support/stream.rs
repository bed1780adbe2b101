//! A stream of numbers that is the same everywhere and for ever: SplitMix64 (Steele, Lea, Flood 2014).

/// The stream.
pub(crate) struct Stream(u64);

impl Stream {
    /// Seeded with the FNV-1a hash of a text.
    pub(crate) fn seeded(text: &str) -> Self {
        let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
        Self(text.bytes().fold(0xCBF2_9CE4_8422_2325, hash))
    }

    /// A number below `bound`, which is small enough that no remainder is much more likely than another.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}
