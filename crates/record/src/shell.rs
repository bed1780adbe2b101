//! Commands that are shown to be copied.

use std::path::Path;

/// `path` as a word that a shell reads back as one.
pub fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |character: char| character.is_alphanumeric() || "/._-+=:,@".contains(character);
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_for_a_shell_where_they_need_it() {
        assert_eq!(shell_word(Path::new("runs/top-lambda-seed0")), "runs/top-lambda-seed0");
        assert_eq!(shell_word(Path::new("my runs/it's")), r"'my runs/it'\''s'");
    }
}
