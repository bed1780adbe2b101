//! Files that a user names for what a command makes: nothing but one of the same kind is replaced.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use anyhow::{Context, Result, bail};
use record::write;

/// Refuses to write `kind` to `out` where something else is than a file that is empty or begins with `start`, in small or
/// capital letters, as every file of `kind` does.
pub(crate) fn refuse_unlike(out: &Path, start: &[u8], kind: &str) -> Result<()> {
    write::refuse_no_file(out)?;
    let failed = || format!("cannot read {}, which would be replaced", out.display());
    let file = match File::open(out) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file.with_context(failed)?,
    };
    let mut found = Vec::new();
    file.take(start.len() as u64).read_to_end(&mut found).with_context(failed)?;
    if !found.is_empty() && !found.eq_ignore_ascii_case(start) {
        bail!("`{}` is there already and holds no {kind}; give --out another file", out.display());
    }
    Ok(())
}
