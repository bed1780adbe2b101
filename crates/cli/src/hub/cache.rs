//! The cache that the Hugging Face programs share: where it is, what lies in it, and how a file gets into it. It asks no
//! server, and what a server said becomes a part of a path by [`Commit`] and [`Etag`] alone.
//!
//! Layout: `models--OWNER--NAME/{blobs/ETAG, refs/main, snapshots/COMMIT/FILE -> ../../blobs/ETAG}`, `datasets--…` alike.

use std::{
    env, fmt, fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use record::{read, write};

/// Characters that are shown of what a server sent.
const SHOWN_CHARACTERS: usize = 80;

/// The directory of the cache.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    directory: PathBuf,
}

impl Cache {
    /// The cache that the environment names, which is to keep `name`.
    pub(super) fn from_environment(name: &str) -> Result<Self> {
        match cache_directory(&variable, env::home_dir()) {
            Some(directory) => Ok(Self { directory }),
            None => bail!(
                "there is no home directory to keep `{name}` in; set HF_HOME to a directory for what is downloaded"
            ),
        }
    }

    /// The cache in `directory`.
    #[cfg(test)]
    pub(super) fn at(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.directory
    }

    /// What it holds, or may come to hold, of a model or an adapter.
    pub(super) fn model(&self, name: &str) -> Repository {
        let directory = self.directory.join(format!("models--{}", name.replace('/', "--")));
        Repository { directory, address: name.to_owned() }
    }

    /// As [`Self::model`], of a data set.
    pub(super) fn dataset(&self, name: &str) -> Repository {
        let directory = self.directory.join(format!("datasets--{}", name.replace('/', "--")));
        Repository { directory, address: format!("datasets/{name}") }
    }
}

/// A variable of the environment that is not empty, with the user's own directory in place of `~/` at its beginning: where
/// no shell reads it, nobody else has put that in.
pub(super) fn variable(name: &str) -> Option<PathBuf> {
    let value = env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)?;
    Some(value.strip_prefix("~").ok().and_then(|rest| Some(env::home_dir()?.join(rest))).unwrap_or(value))
}

/// As `huggingface_hub` has it (`constants.py`): its directory, by the variables and the user's own directory.
fn hugging_face_home(variable: &impl Fn(&str) -> Option<PathBuf>, user: Option<PathBuf>) -> Option<PathBuf> {
    let caches = || variable("XDG_CACHE_HOME").or_else(|| Some(user?.join(".cache")));
    variable("HF_HOME").or_else(|| Some(caches()?.join("huggingface")))
}

fn cache_directory(variable: &impl Fn(&str) -> Option<PathBuf>, user: Option<PathBuf>) -> Option<PathBuf> {
    // The second is the first one's former name, which is still read.
    let named = || ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"].into_iter().find_map(variable);
    named().or_else(|| Some(hugging_face_home(variable, user)?.join("hub")))
}

/// What the user has to show to the hub: `HF_TOKEN`, or what a login left in a file.
pub(super) fn token() -> Result<Option<String>> {
    let shown = if let Some(token) = variable("HF_TOKEN") {
        token.to_string_lossy().into_owned()
    } else {
        let home = || Some(hugging_face_home(&variable, env::home_dir())?.join("token"));
        let Some(path) = variable("HF_TOKEN_PATH").or_else(home).filter(|path| path.exists()) else { return Ok(None) };
        let remedy = || format!("cannot read the token in {}; mend it, or set HF_TOKEN", path.display());
        match read::text(&path) {
            // Somebody else's, in a cache that many use; what is open to all needs none.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(None),
            text => text.with_context(remedy)?,
        }
    };
    let token = shown.trim();
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        bail!("the token for the hub holds what no token does, such as a space; set HF_TOKEN to the token alone");
    }
    Ok(Some(token.to_owned()).filter(|token| !token.is_empty()))
}

/// The name of a state of a repository, a git commit: 40 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Commit(String);

impl Commit {
    /// `None` where `text` is something else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        (text.len() == 40 && is_hexadecimal(text)).then(|| Self(text.to_owned()))
    }
}

impl fmt::Display for Commit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The name that the hub gives to the bytes of a file, which is a checksum of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Etag {
    /// SHA-1 of git's header and the bytes: 40 hexadecimal digits, of files that lie in the repository itself.
    GitBlob(String),
    /// SHA-256 of the bytes: 64 hexadecimal digits, of files in the large file storage.
    Sha256(String),
}

impl Etag {
    /// `None` where a header's value is something else; quotes and the mark of a weak tag (RFC 9110, section 8.8.3) are
    /// passed over.
    pub(super) fn parse(value: &str) -> Option<Self> {
        let digits = value.strip_prefix("W/").unwrap_or(value).trim_matches('"');
        match digits.len() {
            40 if is_hexadecimal(digits) => Some(Self::GitBlob(digits.to_owned())),
            64 if is_hexadecimal(digits) => Some(Self::Sha256(digits.to_owned())),
            _ => None,
        }
    }

    /// Its digits.
    pub(super) fn digits(&self) -> &str {
        match self {
            Self::GitBlob(digits) | Self::Sha256(digits) => digits,
        }
    }
}

fn is_hexadecimal(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The beginning of what a server sent, with its control characters as escapes.
pub(super) fn shown(sent: &str) -> String {
    let escaped: String = sent.chars().take(SHOWN_CHARACTERS).flat_map(char::escape_default).collect();
    if sent.chars().nth(SHOWN_CHARACTERS).is_some() { format!("{escaped}…") } else { escaped }
}

/// A repository of the hub in the cache.
#[derive(Debug, Clone)]
pub(super) struct Repository {
    directory: PathBuf,
    /// Its path on the hub.
    address: String,
}

impl Repository {
    /// Its path on the hub, below which its files are.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// A file of the state that was its newest when it was downloaded.
    pub(super) fn find(&self, file: &str) -> Option<PathBuf> {
        let main = fs::read_to_string(self.main()).ok()?;
        Some(self.snapshot(&Commit::parse(main.trim())?).join(file)).filter(|path| path.exists())
    }

    /// The directory of its files in the state `commit`.
    pub(super) fn snapshot(&self, commit: &Commit) -> PathBuf {
        self.directory.join("snapshots").join(&commit.0)
    }

    /// Where the bytes of a file are.
    pub(super) fn blob(&self, etag: &Etag) -> PathBuf {
        self.directory.join("blobs").join(etag.digits())
    }

    fn main(&self) -> PathBuf {
        self.directory.join("refs").join("main")
    }

    /// Makes the bytes that are `etag` the file `file` of the state `commit`.
    pub(super) fn link(&self, etag: &Etag, commit: &Commit, file: &str) -> Result<PathBuf> {
        let path = self.snapshot(commit).join(file);
        if path.exists() {
            return Ok(path);
        }
        write::create_directory(path.parent().unwrap_or(&path))?;
        // A link that leads nowhere is in the way of the new one; a file is another program's that was faster.
        if path.is_symlink() {
            write::remove(&path)?;
        }
        // `snapshots`, COMMIT and the directories of the file.
        let mut target: PathBuf = file.split('/').map(|_| "..").collect();
        target.extend(["..", "blobs", etag.digits()]);
        if symbolic_link(&target, &path).is_err() && !path.exists() {
            // Not every file system has links, and not every user may make them; the bytes are then the file's alone.
            fs::rename(self.blob(etag), &path).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(path)
    }

    /// Makes `commit` the state that [`Self::find`] looks in.
    pub(super) fn set_main(&self, commit: &Commit) -> Result<()> {
        let main = self.main();
        Ok(write::output(&main, commit.0.as_bytes())?)
    }
}

#[cfg(unix)]
fn symbolic_link(target: &Path, path: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

#[cfg(windows)]
fn symbolic_link(target: &Path, path: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_where_the_programs_of_hugging_face_have_it() {
        // huggingface_hub 2.4.0, constants.py: HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME, XDG_CACHE_HOME, the user's
        // directory.
        for (set, user, expected) in [
            (&[("HF_HUB_CACHE", "/h"), ("HF_HOME", "/hf")][..], Some("/me"), Some("/h")),
            (&[("HF_HUB_CACHE", "/h"), ("HUGGINGFACE_HUB_CACHE", "/former")], Some("/me"), Some("/h")),
            (&[("HUGGINGFACE_HUB_CACHE", "/former"), ("HF_HOME", "/hf")], Some("/me"), Some("/former")),
            (&[("HF_HOME", "/hf"), ("XDG_CACHE_HOME", "/x")], Some("/me"), Some("/hf/hub")),
            (&[("XDG_CACHE_HOME", "/x")], Some("/me"), Some("/x/huggingface/hub")),
            (&[], Some("/me"), Some("/me/.cache/huggingface/hub")),
            (&[], None, None),
        ] {
            let variable = |name: &str| set.iter().find(|(set, _)| *set == name).map(|(_, value)| value.into());
            assert_eq!(cache_directory(&variable, user.map(PathBuf::from)), expected.map(PathBuf::from), "{set:?}");
        }
    }

    #[test]
    fn etags_and_commits_are_hexadecimal_digits_and_nothing_else() {
        let [short, long] = ["0123456789abcdef0123456789abcdef01234567", &"0a".repeat(32)].map(str::to_owned);
        assert_eq!(Etag::parse(&format!("\"{long}\"")), Some(Etag::Sha256(long.clone())));
        assert_eq!(Etag::parse(&format!("W/\"{short}\"")), Some(Etag::GitBlob(short.clone())));
        assert_eq!(Commit::parse(&short), Some(Commit(short.clone())));
        let up = format!("../{}", &short[3..]);
        for (text, why) in [
            (up.as_str(), "a path of the right length"),
            ("/etc/passwd", "an absolute path"),
            ("", "nothing"),
            (&short[1..], "too short"),
            (&short.to_uppercase(), "git writes small letters"),
            (&"λ".repeat(20), "40 bytes of another script"),
        ] {
            assert_eq!((Etag::parse(text), Commit::parse(text)), (None, None), "{why}");
        }
        assert_eq!(Commit::parse(&long), None);
    }

    #[test]
    fn what_a_server_sent_is_shown_clipped_and_without_control_characters() {
        assert_eq!(shown("../\u{1b}[2J"), "../\\u{1b}[2J");
        assert_eq!(shown(&"a".repeat(81)), format!("{}…", "a".repeat(80)));
    }

    #[test]
    fn a_file_is_found_in_the_state_that_main_names_once_it_is_linked() {
        let directory = tempfile::tempdir().unwrap();
        let repository = Cache::at(directory.path()).dataset("a/b");
        let commit = Commit::parse(&"c0ffee00".repeat(5)).unwrap();
        let etag = Etag::parse(&"0a".repeat(32)).unwrap();
        let blob = repository.blob(&etag);
        write::create_directory(blob.parent().unwrap()).unwrap();
        write::replace(&blob, b"bytes").unwrap();
        for file in ["x.jsonl", "data/deep/x.parquet"] {
            let path = repository.link(&etag, &commit, file).unwrap();
            assert_eq!(repository.link(&etag, &commit, file).unwrap(), path, "a second time");
            assert_eq!(fs::read(&path).unwrap(), b"bytes");
            assert_eq!(repository.find(file), None);
        }
        repository.set_main(&commit).unwrap();
        let found = repository.find("data/deep/x.parquet").unwrap();
        assert!(found.ends_with(format!("datasets--a--b/snapshots/{commit}/data/deep/x.parquet")), "{found:?}");
        write::replace(&repository.main(), b"../../elsewhere").unwrap();
        assert_eq!(repository.find("x.jsonl"), None);
    }
}
