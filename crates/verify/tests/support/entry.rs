//! What must hold for every input, whatever bytes it is: the entry points that fuzzing and the short replay share.
//!
//! An input is text, with what is no UTF-8 replaced. Its first line is the gold, or one of two golds, where a target
//! needs one.

use verify::{Extraction, Gold, Verdict, check};

/// What is run on an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// Finding the answer in a completion.
    Extraction,
    /// Reading a gold.
    Gold,
    /// A gold, and a completion below it.
    Check,
    /// Two golds, line by line.
    Comparison,
}

impl Target {
    /// The target of a name, which is that of its file and its corpus.
    pub(crate) fn named(name: &str) -> Self {
        match name {
            "extraction" => Self::Extraction,
            "gold" => Self::Gold,
            "check" => Self::Check,
            "comparison" => Self::Comparison,
            _ => panic!("{name:?} is no fuzz target"),
        }
    }

    /// Panics where something does not hold.
    pub(crate) fn run(self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
        match self {
            Self::Extraction => find(&text),
            Self::Gold => read(&text),
            Self::Check => judge(first, rest),
            Self::Comparison => compare(first, rest.split('\n').next().unwrap_or_default()),
        }
    }
}

/// Longest answer that a record keeps, in bytes.
const ANSWER_BYTES_MAX: usize = 1_000;

fn marked() -> Extraction {
    Extraction::Marker { marker: "ANSWER".to_owned() }
}

/// Whatever the completion, there is an answer where the verdict says so, and thinking before it changes nothing.
fn find(completion: &str) {
    for text in ["7", "B", "\\{1,2\\}"] {
        let gold = Gold::parse(text).expect("the gold is plain");
        for extraction in [Extraction::Auto {}, marked()] {
            let found = check(completion, &gold, &extraction);
            assert_eq!(found.verdict == Verdict::NoAnswer, found.answer.is_none(), "{found:?}");
            assert!(found.answer.as_ref().is_none_or(|answer| answer.len() <= ANSWER_BYTES_MAX), "{found:?}");
            assert!(!found.reason.is_empty() && found.reason.len() <= ANSWER_BYTES_MAX, "{found:?}");
        }
        let thought = format!("\\boxed{{1}} or \\boxed{{7}} or B</think>{completion}");
        let (found, after_thought) =
            (check(completion, &gold, &Extraction::Auto {}), check(&thought, &gold, &Extraction::Auto {}));
        assert_eq!(found, after_thought, "thinking before {completion:?} changes what is found");
    }
}

/// A gold that is read equals itself and is read again.
fn read(text: &str) {
    let Ok(gold) = Gold::parse(text) else { return };
    assert!(!gold.text().trim().is_empty());
    if is_one_line(gold.text()) {
        let found = check(&format!("ANSWER {}", gold.text()), &gold, &marked());
        assert!(found.verdict.is_correct(), "{:?} is not equal to itself: {found:?}", gold.text());
    }
    // Marks of an answer inside an answer would be taken for those around it.
    if !gold.text().contains("####") && !gold.text().contains("box") {
        let again = Gold::parse(gold.text());
        assert!(again.is_ok(), "{:?} is not read again: {again:?}", gold.text());
    }
}

fn judge(gold: &str, completion: &str) {
    let Ok(gold) = Gold::parse(gold) else { return };
    for extraction in [Extraction::Auto {}, marked()] {
        let found = check(completion, &gold, &extraction);
        assert_eq!(found.verdict == Verdict::NoAnswer, found.answer.is_none(), "{found:?}");
        assert_eq!(found, check(completion, &gold, &extraction), "a second look finds something else");
    }
}

/// Two golds are equal or not, whichever is the answer.
fn compare(a: &str, b: &str) {
    let (Ok(a), Ok(b)) = (Gold::parse(a), Gold::parse(b)) else { return };
    if !is_one_line(a.text()) || !is_one_line(b.text()) {
        return;
    }
    let there = check(&format!("ANSWER {}", a.text()), &b, &marked());
    let back = check(&format!("ANSWER {}", b.text()), &a, &marked());
    let shown = format!("{:?} {:?}: {there:?} {back:?}", a.text(), b.text());
    assert_eq!(there.verdict.is_correct(), back.verdict.is_correct(), "{shown}");
}

/// Whether a text that follows the marker is found as it is.
fn is_one_line(text: &str) -> bool {
    !text.contains(['\n', '\r']) && !text.contains("ANSWER")
}
