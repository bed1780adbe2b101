//! What a repository of the hub holds, and its files downloaded into the cache: gone on with where a download broke off,
//! and kept only when size and checksum are those that the hub announced.
//!
//! What is to be done about an error is said by `hub`, which knows what the file is for.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use record::write::{self, Growing};
use ring::digest;
use serde::Deserialize;

use super::{
    cache::{Commit, Etag, Repository, shown},
    client::{Answer, Client, Failure},
};
use crate::{console::Console, progress::Progress};

/// Waits before a request is made a second and a third time.
const WAITS: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(800)];

/// Of the list of a repository's files.
const LISTING_BYTES_MAX: u64 = 16 << 20;

/// Of a file that holds no weights; `model` reads no larger one either.
const SMALL_FILE_BYTES_MAX: u64 = 256 << 20;

const WEIGHTS_SUFFIX: &str = ".safetensors";

const CHUNK_BYTES: usize = 1 << 17;

/// What a repository holds in its newest state.
pub(super) struct Listing {
    pub(super) commit: Commit,
    pub(super) files: BTreeSet<String>,
}

/// A file that is there now, and of which state it is.
pub(super) struct Fetched {
    pub(super) commit: Commit,
    pub(super) path: PathBuf,
}

/// A file to download.
#[derive(Debug, Clone, Copy)]
struct Wanted<'a> {
    repository: &'a Repository,
    /// The newest state where there is none.
    commit: Option<&'a Commit>,
    file: &'a str,
}

/// What the hub says of a file before its bytes.
#[derive(Debug, PartialEq)]
struct Announced {
    commit: Commit,
    etag: Etag,
    bytes: u64,
}

/// Downloads from the hub.
pub(super) struct Hub<'a> {
    client: Client,
    console: &'a Console,
    progress: Progress,
}

impl<'a> Hub<'a> {
    /// The hub that the environment names.
    pub(super) fn from_environment(console: &'a Console) -> Result<Self> {
        Ok(Self { client: Client::from_environment()?, console, progress: Progress::new(console) })
    }

    /// What `repository`, of a model or an adapter, holds in its newest state.
    pub(super) fn listing(&self, repository: &Repository) -> Result<Listing> {
        #[derive(Deserialize)]
        struct Listed {
            sha: String,
            siblings: Vec<Sibling>,
        }
        #[derive(Deserialize)]
        struct Sibling {
            rfilename: String,
        }
        let path = format!("api/models/{}/revision/main", repository.address());
        let (place, body) = self.again_and_again(|| {
            let mut answer = self.client.get(&path, None)?;
            let body = answer.received.body_mut().with_config().limit(LISTING_BYTES_MAX).read_to_vec();
            let cannot = format!("cannot read {}", answer.place);
            match body {
                Ok(body) => Ok((answer.place, body)),
                Err(error @ ureq::Error::BodyExceedsLimit(_)) => Err(anyhow::Error::new(error).context(cannot).into()),
                Err(error) => Err(Failure::Passing(anyhow::Error::new(error).context(cannot))),
            }
        })?;
        let listed: Listed = serde_json::from_slice(&body)
            .with_context(|| format!("{place} sends no list of files as the hub has it"))?;
        let Some(commit) = Commit::parse(&listed.sha) else {
            bail!("{place} sends `sha` `{}`, which is no commit", shown(&listed.sha));
        };
        Ok(Listing { commit, files: listed.siblings.into_iter().map(|sibling| sibling.rfilename).collect() })
    }

    /// Where the file of `repository` lies, downloaded unless it is there: of the state `commit`, or else of the newest.
    pub(super) fn fetch(&self, repository: &Repository, commit: Option<&Commit>, file: &str) -> Result<Fetched> {
        if let Some(commit) = commit {
            let path = repository.snapshot(commit).join(file);
            if path.exists() {
                return Ok(Fetched { commit: commit.clone(), path });
            }
        }
        let wanted = Wanted { repository, commit, file };
        self.again_and_again(|| self.download(wanted)).with_context(|| format!("cannot download {file}"))
    }

    /// Makes `attempt` until it has failed three times without getting on.
    fn again_and_again<T>(&self, attempt: impl Fn() -> Result<T, Failure>) -> Result<T> {
        let mut waits = WAITS.iter();
        loop {
            let (error, asked) = match attempt() {
                Ok(done) => return Ok(done),
                Err(Failure::Lasting(error)) => return Err(error),
                Err(Failure::Passing(error)) => (error, Duration::ZERO),
                Err(Failure::Busy(error, asked)) => (error, asked),
                Err(Failure::Underway(error)) => {
                    waits = WAITS.iter();
                    (error, Duration::ZERO)
                }
            };
            let Some(&wait) = waits.next() else { return Err(error) };
            let wait = wait.max(asked);
            self.console.note(format!("{error:#}; trying again after {:.1} s", wait.as_secs_f64()));
            thread::sleep(wait);
        }
    }

    fn download(&self, wanted: Wanted) -> Result<Fetched, Failure> {
        let Wanted { repository, commit, file } = wanted;
        let path = address(repository, commit, file);
        let answer = self.client.get(&path, None)?;
        let announced = Announced::of(&answer, file)?;
        if let Some(commit) = commit.filter(|&commit| *commit != announced.commit) {
            return Err(Failure::lasting(format!(
                "{} is of the commit {}, and {commit} was asked for",
                answer.place, announced.commit
            )));
        }
        let blob = repository.blob(&announced.etag);
        if !blob.exists() {
            self.complete(&blob, (answer, &path), &announced, file)?;
        }
        let there = fs::metadata(&blob).with_context(|| format!("cannot read {}", blob.display()))?.len();
        if there != announced.bytes {
            let (blob, bytes) = (blob.display(), announced.bytes);
            return Err(Failure::lasting(format!(
                "{blob} has {there} bytes, and {file} has {bytes} by what the hub says; remove it"
            )));
        }
        Ok(Fetched { path: repository.link(&announced.etag, &announced.commit, file)?, commit: announced.commit })
    }

    /// Makes the file, which `answer` to a request for `path` has from its beginning, whole as `blob`.
    fn complete(
        &self,
        blob: &Path,
        (answer, path): (Answer, &str),
        announced: &Announced,
        file: &str,
    ) -> Result<(), Failure> {
        write::create_directory(blob.parent().unwrap_or(blob))?;
        let waiting = || self.console.note(format!("another program downloads {file}; waiting for it"));
        let mut growing = Growing::open(blob, waiting)?;
        // Another program may have ended with it just before it was ours.
        if blob.exists() {
            return Ok(growing.discard()?);
        }
        let filled = self.fill(&mut growing, (answer, path), announced, file);
        if filled.is_ok() {
            return Ok(growing.finish()?);
        }
        // What came before a connection broke or a disk was full is gone on with another time.
        if growing.bytes()? == 0 {
            growing.discard()?;
        }
        filled
    }

    /// Adds to `growing` what is missing of the file, which `answer` to a request for `path` has from its beginning.
    fn fill(
        &self,
        growing: &mut Growing,
        (answer, path): (Answer, &str),
        announced: &Announced,
        file: &str,
    ) -> Result<(), Failure> {
        let bytes = announced.bytes;
        let there = growing.bytes()?;
        let rest = if (1..bytes).contains(&there) { self.rest(path, there, bytes)? } else { None };
        let (body, start) = match (rest, there == bytes) {
            (Some(rest), _) => (Some(rest), there),
            (None, true) => (None, there),
            (None, false) => (Some(answer), 0),
        };
        let mut checksum = Checksum::new(&announced.etag, bytes);
        if start == 0 {
            growing.restart()?;
        } else {
            io::copy(&mut growing.reader()?, &mut checksum).context("cannot read what there is of the file")?;
        }
        if let Some(answer) = body {
            self.receive(growing, &mut checksum, answer, (start, bytes, file))?;
        }
        let (name, found) = checksum.finish();
        if found == announced.etag.digits() {
            return Ok(());
        }
        growing.restart()?;
        let wrong = format!("{file} has the {name} {found}, and {} was announced", announced.etag.digits());
        // What an earlier download left may be at fault, and is gone now.
        if start > 0 { Err(Failure::Passing(anyhow!(wrong))) } else { Err(Failure::lasting(wrong)) }
    }

    /// The file from the byte `first` on, where the server gives that and nothing else.
    fn rest(&self, path: &str, first: u64, bytes: u64) -> Result<Option<Answer>, Failure> {
        match self.client.get(path, Some(first)) {
            Ok(answer) => {
                let part = answer.header("content-range").filter(|_| answer.received.status() == 206);
                Ok(Some(answer).filter(|_| part.as_deref().and_then(part_of) == Some((first, bytes))))
            }
            // The whole file was answered for a moment ago.
            Err(Failure::Lasting(_)) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Adds the body of `answer` at the end of `growing`, which has `start` of `bytes` bytes.
    fn receive(
        &self,
        growing: &mut Growing,
        checksum: &mut Checksum,
        answer: Answer,
        (start, bytes, file): (u64, u64, &str),
    ) -> Result<(), Failure> {
        let Answer { place, received, .. } = answer;
        let body = received.into_body();
        if let Some(sent) = body.content_length().filter(|&sent| sent != bytes - start) {
            let expected = bytes - start;
            return Err(Failure::lasting(format!("{place} sends {sent} bytes in place of {expected}")));
        }
        let bar = self.progress.download(file, start, bytes);
        let mut body = body.into_reader();
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut there = start;
        loop {
            let broke_off = |error| {
                let told = format!("{place} broke off after {there} of {bytes} bytes");
                Failure::after(there - start, anyhow::Error::new(error).context(told))
            };
            let count = body.read(&mut chunk).map_err(broke_off)?;
            if count == 0 {
                break;
            }
            there += count as u64;
            if there > bytes {
                growing.restart()?;
                return Err(Failure::lasting(format!("{place} sends more than {bytes} bytes")));
            }
            growing.write(&chunk[..count])?;
            checksum.add(&chunk[..count]);
            bar.advance(count as u64);
        }
        if there < bytes {
            return Err(Failure::after(there - start, anyhow!("{place} ended after {there} of {bytes} bytes")));
        }
        Ok(())
    }
}

impl Announced {
    /// What the hub says with `answer`, in the headers that `huggingface_hub` reads: those of the large file storage, which
    /// the answer may come from, before those of the answer itself.
    fn of(answer: &Answer, file: &str) -> Result<Self, Failure> {
        let place = &answer.place;
        let missing = |header: &str| {
            Failure::lasting(format!(
                "{place} came without the header `{header}`, which the hub and its mirrors send; check HF_ENDPOINT"
            ))
        };
        let wrong = |header: &str, value: &str, what: &str| {
            let value = shown(value);
            Failure::lasting(format!(
                "{place} came with the header `{header}: {value}`, which is no {what}; check HF_ENDPOINT"
            ))
        };
        let commit = answer.told("x-repo-commit").ok_or_else(|| missing("x-repo-commit"))?;
        let commit = Commit::parse(&commit).ok_or_else(|| wrong("x-repo-commit", &commit, "commit"))?;
        let header = if answer.told("x-linked-etag").is_some() { "x-linked-etag" } else { "etag" };
        let etag = answer.told(header).ok_or_else(|| missing(header))?;
        let etag = Etag::parse(&etag).ok_or_else(|| wrong(header, &etag, "SHA-1 or SHA-256 of a file"))?;
        let bytes = match answer.told("x-linked-size") {
            Some(size) => size.parse().map_err(|_| wrong("x-linked-size", &size, "number of bytes"))?,
            None => answer.received.body().content_length().ok_or_else(|| missing("content-length"))?,
        };
        if bytes > SMALL_FILE_BYTES_MAX && !file.ends_with(WEIGHTS_SUFFIX) {
            let most = SMALL_FILE_BYTES_MAX >> 20;
            return Err(Failure::lasting(format!(
                "{place} has {bytes} bytes; a file without weights has {most} MiB at most"
            )));
        }
        Ok(Self { commit, etag, bytes })
    }
}

/// Where a file is on the hub, below its address: of the state `commit`, or else of the newest.
pub(super) fn address(repository: &Repository, commit: Option<&Commit>, file: &str) -> String {
    let state = commit.map_or("main".to_owned(), Commit::to_string);
    format!("{}/resolve/{state}/{}", repository.address(), percent_encoded(file))
}

/// First byte and size of the whole in a header `content-range: bytes FIRST-LAST/SIZE` (RFC 9110, section 14.4).
fn part_of(header: &str) -> Option<(u64, u64)> {
    let (part, size) = header.strip_prefix("bytes ")?.split_once('/')?;
    Some((part.split_once('-')?.0.parse().ok()?, size.parse().ok()?))
}

/// As it stands in an address (RFC 3986, section 2.1), slashes apart.
fn percent_encoded(file: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/');
    file.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// The checksum that a file's etag is, of bytes that come in one after the other.
struct Checksum {
    context: digest::Context,
    name: &'static str,
}

impl Checksum {
    /// Of a file of `bytes` bytes.
    fn new(etag: &Etag, bytes: u64) -> Self {
        match etag {
            Etag::GitBlob(_) => {
                let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
                context.update(format!("blob {bytes}\0").as_bytes());
                Self { context, name: "SHA-1 as a git blob" }
            }
            Etag::Sha256(_) => Self { context: digest::Context::new(&digest::SHA256), name: "SHA-256" },
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
    }

    /// Its name and its hexadecimal digits.
    fn finish(self) -> (&'static str, String) {
        let digest = self.context.finish();
        let digits = digest.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]);
        (self.name, digits.map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])).collect())
    }
}

impl io::Write for Checksum {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.add(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_git_and_of_the_large_file_storage() {
        // `printf hello | git hash-object --stdin` and `printf hello | sha256sum`.
        for etag in [
            "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0",
            "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
        ] {
            let mut checksum = Checksum::new(&Etag::parse(etag).unwrap(), 5);
            checksum.add(b"hel");
            checksum.add(b"lo");
            assert_eq!(checksum.finish().1, etag);
        }
    }

    #[test]
    fn a_part_is_read_from_its_header() {
        for (header, expected) in [
            ("bytes 5-9/10", Some((5, 10))),
            ("bytes 5-9/*", None),
            ("bytes */10", None),
            ("items 5-9/10", None),
            ("bytes 5", None),
        ] {
            assert_eq!(part_of(header), expected, "{header}");
        }
    }

    #[test]
    fn names_of_files_are_encoded_in_addresses() {
        assert_eq!(percent_encoded("data/a-1_b.c~"), "data/a-1_b.c~");
        assert_eq!(percent_encoded("a b?c#λ%"), "a%20b%3Fc%23%CE%BB%25");
    }
}
