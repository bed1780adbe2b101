//! Machine code that was compiled before, kept in files, so that only the first run of a card waits for the compiler.
//!
//! A file names what its code was made of, sources and options whole; code of anything else is not taken, and neither is
//! what is damaged. Such files, and those that are missing, are compiled and written again.

use std::{fs, io, path::Path, process};

use super::{
    compile::{CompileError, Compiled, Recipe},
    sources::Source,
};

const MARK: &[u8; 16] = b"brevity kernel 1";

/// As [`super::compile::compile`], from a file in `directory` where it was compiled before, else into it. A directory that
/// cannot be written costs the compiler's time, and nothing else.
///
/// # Errors
/// As [`super::compile::compile`].
pub fn compile_kept(
    directory: &Path,
    source: &Source,
    architecture: &str,
    head_width: usize,
) -> Result<Compiled, CompileError> {
    let recipe = Recipe::new(source, architecture, head_width)?;
    let ingredients = recipe.ingredients();
    let name = format!("{}-{:016x}.cubin", source.name.trim_end_matches(".cu"), checksum(ingredients.as_bytes()));
    let path = directory.join(name);
    if let Some(cubin) = fs::read(&path).ok().and_then(|bytes| unpacked(&bytes, ingredients.as_bytes())) {
        return Ok(Compiled { cubin, log: String::new() });
    }
    let compiled = recipe.compile()?;
    // Without it the next run compiles again.
    let _ = keep(directory, &path, &packed(&compiled.cubin, ingredients.as_bytes()));
    Ok(compiled)
}

/// Writes a file so that nobody finds half of it.
#[expect(
    clippy::disallowed_methods,
    reason = "it is no file of a run, and those of a run are written above this crate"
)]
fn keep(directory: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let unfinished = path.with_extension(format!("{}.part", process::id()));
    let kept = fs::write(&unfinished, bytes).and_then(|()| fs::rename(&unfinished, path));
    kept.inspect_err(|_| drop(fs::remove_file(&unfinished)))
}

/// The mark, the checksum of all that follows, the length of the ingredients, the ingredients, and the code.
fn packed(cubin: &[u8], ingredients: &[u8]) -> Vec<u8> {
    let rest = [&(ingredients.len() as u64).to_le_bytes(), ingredients, cubin].concat();
    [&MARK[..], &checksum(&rest).to_le_bytes(), &rest].concat()
}

/// The code of these ingredients, where `bytes` are whole and hold it.
fn unpacked(bytes: &[u8], ingredients: &[u8]) -> Option<Vec<u8>> {
    let (sum, rest) = bytes.strip_prefix(MARK)?.split_first_chunk()?;
    if checksum(rest) != u64::from_le_bytes(*sum) {
        return None;
    }
    let (length, rest) = rest.split_first_chunk()?;
    let (theirs, cubin) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    (theirs == ingredients).then(|| cubin.to_vec())
}

/// FNV-1a of 64 bits: every flipped bit changes it.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_fnv() {
        // draft-eastlake-fnv, appendix C.
        for (text, expected) in
            [("", 0xcbf2_9ce4_8422_2325), ("a", 0xaf63_dc4c_8601_ec8c), ("foobar", 0x8594_4171_f739_67e8)]
        {
            assert_eq!(checksum(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn code_is_taken_for_its_own_ingredients_alone() {
        let bytes = packed(b"code", b"sm_90a and a source");
        assert_eq!(unpacked(&bytes, b"sm_90a and a source"), Some(b"code".to_vec()));
        for other in [&b"sm_90a and a sourc"[..], b"sm_80 and a source", b""] {
            assert_eq!(unpacked(&bytes, other), None);
        }
    }

    #[test]
    fn no_damaged_file_is_taken() {
        let bytes = packed(b"code", b"ingredients");
        for length in 0..bytes.len() {
            assert_eq!(unpacked(&bytes[..length], b"ingredients"), None, "{length} bytes");
        }
        for bit in 0..8 * bytes.len() {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unpacked(&bytes, b"ingredients"), None, "bit {bit}");
        }
    }

    #[test]
    fn what_is_kept_replaces_what_was_there_and_leaves_nothing_else() {
        let directory = std::env::temp_dir().join(format!("brevity-kept-{}", process::id()));
        let path = directory.join("deep").join("norm-0.cubin");
        for bytes in [&b"first"[..], b"second"] {
            keep(&directory.join("deep"), &path, bytes).expect("a directory for temporary files");
            assert_eq!(fs::read(&path).ok().as_deref(), Some(bytes));
        }
        assert_eq!(fs::read_dir(directory.join("deep")).map(Iterator::count).ok(), Some(1));
        let _ = fs::remove_dir_all(&directory);
    }
}
