//! Commands that are shown to be copied.

use std::path::Path;

/// `path` as a word that a shell reads back as one: the same bytes, whether or not they are text, on one line.
pub fn shell_word(path: &Path) -> String {
    let plain = |character: char| character.is_alphanumeric() || "/._-+=:,@".contains(character);
    let shown = |character: char| !character.is_control() && !turns_writing(character);
    match path.to_str() {
        Some(text) if !text.is_empty() && text.chars().all(plain) => text.to_owned(),
        Some(text) if text.chars().all(shown) => format!("'{}'", text.replace('\'', r"'\''")),
        Some(_) | None => {
            let bytes = path.as_os_str().as_encoded_bytes().iter();
            format!("$'{}'", bytes.map(|&byte| escaped(byte)).collect::<String>())
        }
    }
}

/// Whether a character turns the direction of writing, which a terminal shows in the text around it.
pub fn turns_writing(character: char) -> bool {
    matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A byte as it stands within `$'…'`.
fn escaped(byte: u8) -> String {
    let is_shown = (byte.is_ascii_graphic() || byte == b' ') && byte != b'\'' && byte != b'\\';
    // Three octal digits end by themselves, whatever follows.
    if is_shown { char::from(byte).to_string() } else { format!("\\{byte:03o}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_for_a_shell_where_they_need_it() {
        assert_eq!(shell_word(Path::new("runs/top-lambda-seed0")), "runs/top-lambda-seed0");
        assert_eq!(shell_word(Path::new("my runs/it's")), r"'my runs/it'\''s'");
    }

    #[cfg(unix)]
    #[test]
    fn bytes_that_are_no_text_or_would_break_a_line_are_kept_as_escapes() {
        use std::{ffi::OsStr, os::unix::ffi::OsStrExt, process::Command};

        for (bytes, expected) in [
            (&b"caf\xe9 1"[..], r"$'caf\351 1'"),
            (b"a\nb'c\\d", r"$'a\012b\047c\134d'"),
            ("a\u{202e}".as_bytes(), r"$'a\342\200\256'"),
        ] {
            let word = shell_word(Path::new(OsStr::from_bytes(bytes)));
            assert_eq!(word, expected);
            // Where there is no bash, what is expected has to do.
            let Ok(read) = Command::new("bash").args(["-c", &format!("printf %s {word}")]).output() else { continue };
            assert_eq!(read.stdout, bytes, "{word}");
        }
    }
}
