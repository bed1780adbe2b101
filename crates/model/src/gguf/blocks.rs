//! The block formats of ggml and what numbers they stand for.
//!
//! Layouts and formulas: ggml's `ggml-common.h` and `ggml-quants.c` (`dequantize_row_*`); sums and products are in f32
//! and in that order, so results are equal bit for bit.

use half::f16;

use crate::StoredType;

/// How the numbers of a tensor are stored in a GGUF file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum BlockType {
    /// Numbers one by one, not in blocks.
    Plain(StoredType),
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4K,
    Q5K,
    Q6K,
}

impl BlockType {
    /// The type with ggml's number `id`.
    pub(super) fn from_id(id: u32) -> Option<Self> {
        Some(match id {
            0 => BlockType::Plain(StoredType::F32),
            1 => BlockType::Plain(StoredType::F16),
            2 => BlockType::Q4_0,
            3 => BlockType::Q4_1,
            6 => BlockType::Q5_0,
            7 => BlockType::Q5_1,
            8 => BlockType::Q8_0,
            12 => BlockType::Q4K,
            13 => BlockType::Q5K,
            14 => BlockType::Q6K,
            30 => BlockType::Plain(StoredType::Bf16),
            _ => return None,
        })
    }

    /// ggml's name for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            BlockType::Plain(StoredType::F32) => "F32",
            BlockType::Plain(StoredType::F16) => "F16",
            BlockType::Plain(StoredType::Bf16) => "BF16",
            BlockType::Q4_0 => "Q4_0",
            BlockType::Q4_1 => "Q4_1",
            BlockType::Q5_0 => "Q5_0",
            BlockType::Q5_1 => "Q5_1",
            BlockType::Q8_0 => "Q8_0",
            BlockType::Q4K => "Q4_K",
            BlockType::Q5K => "Q5_K",
            BlockType::Q6K => "Q6_K",
        }
    }

    /// How many numbers a block holds.
    pub(super) fn block_values(self) -> usize {
        match self {
            BlockType::Plain(_) => 1,
            BlockType::Q4_0 | BlockType::Q4_1 | BlockType::Q5_0 | BlockType::Q5_1 | BlockType::Q8_0 => 32,
            BlockType::Q4K | BlockType::Q5K | BlockType::Q6K => 256,
        }
    }

    /// The size of a block.
    pub(super) fn block_bytes(self) -> usize {
        match self {
            BlockType::Plain(stored) => stored.bytes(),
            BlockType::Q4_0 => 18,
            BlockType::Q4_1 => 20,
            BlockType::Q5_0 => 22,
            BlockType::Q5_1 => 24,
            BlockType::Q8_0 => 34,
            BlockType::Q4K => 144,
            BlockType::Q5K => 176,
            BlockType::Q6K => 210,
        }
    }

    /// Appends the numbers of the whole blocks in `bytes`.
    pub(super) fn decode(self, bytes: &[u8], values: &mut Vec<f32>) {
        let decode_block: fn(&[u8], &mut Vec<f32>) = match self {
            BlockType::Plain(stored) => return stored.decode(bytes, values),
            BlockType::Q4_0 => {
                |block, values| decode_nibbles(block, &Nibbles { scales: 1, has_fifth_bits: false }, values)
            }
            BlockType::Q4_1 => {
                |block, values| decode_nibbles(block, &Nibbles { scales: 2, has_fifth_bits: false }, values)
            }
            BlockType::Q5_0 => {
                |block, values| decode_nibbles(block, &Nibbles { scales: 1, has_fifth_bits: true }, values)
            }
            BlockType::Q5_1 => {
                |block, values| decode_nibbles(block, &Nibbles { scales: 2, has_fifth_bits: true }, values)
            }
            BlockType::Q8_0 => decode_q8_0,
            BlockType::Q4K => decode_q4_k,
            BlockType::Q5K => decode_q5_k,
            BlockType::Q6K => decode_q6_k,
        };
        for block in bytes.chunks_exact(self.block_bytes()) {
            decode_block(block, values);
        }
    }
}

/// The little-endian half-precision number at `offset`.
fn half_at(block: &[u8], offset: usize) -> f32 {
    f16::from_le_bytes([block[offset], block[offset + 1]]).to_f32()
}

/// Which of the 4- and 5-bit formats with 32 numbers a block is in.
struct Nibbles {
    /// 1: a scale, numbers are centred on zero (`_0`); 2: a scale and a minimum (`_1`).
    scales: usize,
    /// Four bytes with the fifth bit of each number follow the scales.
    has_fifth_bits: bool,
}

fn decode_nibbles(block: &[u8], format: &Nibbles, values: &mut Vec<f32>) {
    let scale = half_at(block, 0);
    let (fifth_bits, low_bits) = if format.has_fifth_bits {
        let at = 2 * format.scales;
        (u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]), &block[at + 4..])
    } else {
        (0, &block[2 * format.scales..])
    };
    let quants = (0..32).map(|index| {
        let nibble = if index < 16 { low_bits[index] & 0xf } else { low_bits[index - 16] >> 4 };
        f32::from(nibble | ((fifth_bits >> index & 1) as u8) << 4)
    });
    if format.scales == 2 {
        let minimum = half_at(block, 2);
        values.extend(quants.map(|quant| quant * scale + minimum));
    } else {
        let centre = if format.has_fifth_bits { 16.0 } else { 8.0 };
        values.extend(quants.map(|quant| (quant - centre) * scale));
    }
}

fn decode_q8_0(block: &[u8], values: &mut Vec<f32>) {
    let scale = half_at(block, 0);
    values.extend(block[2..].iter().map(|quant| f32::from(quant.cast_signed()) * scale));
}

/// Scale and minimum, 6 bits each, of sub-block `index` out of 8 (`get_scale_min_k4`).
fn scale_and_minimum(packed: &[u8], index: usize) -> (f32, f32) {
    let (scale, minimum) = if index < 4 {
        (packed[index] & 63, packed[index + 4] & 63)
    } else {
        let high_bits = |byte: u8| (byte >> 6) << 4;
        (packed[index + 4] & 0xf | high_bits(packed[index - 4]), packed[index + 4] >> 4 | high_bits(packed[index]))
    };
    (f32::from(scale), f32::from(minimum))
}

/// Block: scale, scale of the minima, 12 bytes of sub-scales, 128 bytes of nibbles.
fn decode_q4_k(block: &[u8], values: &mut Vec<f32>) {
    let (scale, minimum_scale) = (half_at(block, 0), half_at(block, 2));
    for sub_block in 0..8 {
        let (sub_scale, minimum) = scale_and_minimum(&block[4..16], sub_block);
        let (factor, offset) = (scale * sub_scale, minimum_scale * minimum);
        let low_bits = &block[16 + sub_block / 2 * 32..][..32];
        let shift = sub_block % 2 * 4;
        values.extend(low_bits.iter().map(|byte| factor * f32::from(byte >> shift & 0xf) - offset));
    }
}

/// As `Q4_K`, with 32 bytes of fifth bits before the nibbles; bit s of byte l belongs to number l of sub-block s.
fn decode_q5_k(block: &[u8], values: &mut Vec<f32>) {
    let (scale, minimum_scale) = (half_at(block, 0), half_at(block, 2));
    let fifth_bits = &block[16..48];
    for sub_block in 0..8 {
        let (sub_scale, minimum) = scale_and_minimum(&block[4..16], sub_block);
        let (factor, offset) = (scale * sub_scale, minimum_scale * minimum);
        let low_bits = &block[48 + sub_block / 2 * 32..][..32];
        let shift = sub_block % 2 * 4;
        values.extend(low_bits.iter().zip(fifth_bits).map(|(byte, fifth)| {
            let quant = byte >> shift & 0xf | (fifth >> sub_block & 1) << 4;
            factor * f32::from(quant) - offset
        }));
    }
}

/// Block: 128 bytes of nibbles, 64 bytes of upper bit pairs, 16 signed sub-scales, scale.
fn decode_q6_k(block: &[u8], values: &mut Vec<f32>) {
    let scale = half_at(block, 208);
    for index in 0..256 {
        let (half, quarter, lane) = (index / 128, index % 128 / 32, index % 32);
        let nibble = block[half * 64 + quarter % 2 * 32 + lane] >> (quarter / 2 * 4) & 0xf;
        let upper = block[128 + half * 32 + lane] >> (quarter * 2) & 3;
        let sub_scale = block[192 + index / 16].cast_signed();
        let quant = f32::from((nibble | upper << 4).cast_signed() - 32);
        values.push(scale * f32::from(sub_scale) * quant);
    }
}

#[cfg(test)]
mod tests {
    use super::BlockType;

    #[test]
    fn blocks_decode_to_the_numbers_of_the_reference_implementation() {
        macro_rules! recorded {
            ($name:literal) => {
                include_bytes!(concat!("../../tests/data/gguf/blocks_", $name, ".bin")).as_slice()
            };
        }
        // Recorded by tests/data/gguf/record_blocks.py from the PyPI package `gguf`: blocks, then their f32 values.
        let cases = [
            (0, "F32", recorded!("f32")),
            (1, "F16", recorded!("f16")),
            (30, "BF16", recorded!("bf16")),
            (2, "Q4_0", recorded!("q4_0")),
            (3, "Q4_1", recorded!("q4_1")),
            (6, "Q5_0", recorded!("q5_0")),
            (7, "Q5_1", recorded!("q5_1")),
            (8, "Q8_0", recorded!("q8_0")),
            (12, "Q4_K", recorded!("q4_k")),
            (13, "Q5_K", recorded!("q5_k")),
            (14, "Q6_K", recorded!("q6_k")),
        ];
        for (id, name, recorded) in cases {
            let kind = BlockType::from_id(id).unwrap();
            assert_eq!(kind.name(), name);
            let blocks = recorded.len() / (kind.block_bytes() + 4 * kind.block_values());
            let (bytes, expected) = recorded.split_at(blocks * kind.block_bytes());
            let mut values = Vec::new();
            kind.decode(bytes, &mut values);
            let expected: Vec<u32> = expected.as_chunks().0.iter().map(|bits| u32::from_le_bytes(*bits)).collect();
            assert_eq!(values.iter().map(|value| value.to_bits()).collect::<Vec<_>>(), expected, "{name}");
        }
    }
}
