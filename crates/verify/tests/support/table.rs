//! The table of cases: completions, golds and the verdicts a careful person gives them. Not the verdicts we give.
//!
//! A line is `completion | gold | verdict`; a line break of the completion is `⏎`. A heading says how completions of
//! the lines below it are read: `== boxed` puts them into the box of a sentence, `== whole` takes them as they are,
//! `== marker: WORD` takes them as they are and looks for WORD. Lines that start with `# ` are comments.
//! A verdict is a [`Verdict`] in snake case, or `wrong` for a case where it is only certain that no reward is due.

use std::{fs, path::Path};

use verify::{Extraction, Verdict};

/// What a case wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// This verdict and no other.
    Verdict(Verdict),
    /// Any verdict that earns no reward.
    Wrong,
}

impl Wanted {
    /// Whether the case wants no reward.
    pub(crate) fn is_negative(self) -> bool {
        self != Self::Verdict(Verdict::Correct)
    }
}

/// A line of the table.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// File and line.
    pub(crate) place: String,
    /// The whole completion.
    pub(crate) completion: String,
    /// How the answer is looked for.
    pub(crate) extraction: Extraction,
    /// The gold.
    pub(crate) gold: String,
    /// What should come of it.
    pub(crate) wanted: Wanted,
}

/// Every case, by file name and line.
pub(crate) fn cases() -> Vec<Case> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/table");
    let entries = fs::read_dir(&directory).expect("the table is a directory beside the tests");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry can be read").path()).collect();
    paths.sort();
    paths.iter().flat_map(|path| read(path)).collect()
}

fn read(path: &Path) -> Vec<Case> {
    let name = path.file_name().expect("a file has a name").to_string_lossy();
    let text = fs::read_to_string(path).expect("a table is UTF-8");
    let mut cases = Vec::new();
    let mut section = None;
    for (index, line) in text.lines().enumerate() {
        let place = format!("{name}:{}", index + 1);
        if line.is_empty() || line.starts_with("# ") {
            continue;
        }
        if let Some(heading) = line.strip_prefix("== ") {
            section = Some(heading);
            continue;
        }
        let [completion, gold, wanted] = line.split(" | ").collect::<Vec<_>>()[..] else {
            panic!("{place}: a case has three parts between ` | `, not {line:?}");
        };
        let section = section.unwrap_or_else(|| panic!("{place}: a case stands above the first heading"));
        let (completion, extraction) = placed(completion, section, &place);
        let wanted = wanted_of(wanted, &place);
        cases.push(Case { place, completion, extraction, gold: gold.to_owned(), wanted });
    }
    cases
}

fn placed(text: &str, section: &str, place: &str) -> (String, Extraction) {
    let text = text.replace('⏎', "\n");
    match (section, section.strip_prefix("marker: ")) {
        ("boxed", _) => (format!("Thus $\\boxed{{{text}}}$."), Extraction::Auto {}),
        ("whole", _) => (text, Extraction::Auto {}),
        (_, Some(marker)) => (text, Extraction::Marker { marker: marker.to_owned() }),
        (_, None) => panic!("{place}: {section:?} is no heading; write boxed, whole or marker: WORD"),
    }
}

fn wanted_of(word: &str, place: &str) -> Wanted {
    let verdicts = [
        Verdict::Correct,
        Verdict::Incorrect,
        Verdict::NoAnswer,
        Verdict::Unreadable,
        Verdict::TooLarge,
        Verdict::Unknown,
    ];
    let words = ["correct", "incorrect", "no_answer", "unreadable", "too_large", "unknown"];
    match words.iter().position(|known| *known == word) {
        Some(index) => Wanted::Verdict(verdicts[index]),
        None if word == "wrong" => Wanted::Wrong,
        None => panic!("{place}: {word:?} is no verdict; write wrong or one of {words:?}"),
    }
}
