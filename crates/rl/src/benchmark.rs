//! Benchmarks by name, or any problem file: problems with the instruction and the settings they are measured with.
//!
//! The settings are the field's practice for reasoning models (DeepSeek-R1, arXiv 2501.12948, section 3): up to 32,768
//! tokens, temperature 0.6, top-p 0.95. One limit serves all benchmarks, because the limit is part of what is measured.
//! AIME and AMC have 30 and 40 problems, so one completion each says little: they take the mean of 16.

use std::path::{Path, PathBuf};

use crate::{Problem, ProblemFields, RlError, read_problems};

/// What every benchmark of this module asks for, after the question.
pub const INSTRUCTION: &str = r"Please reason step by step, and put your final answer within \boxed{}.";

const COMPLETION_TOKENS_MAX: u32 = 32_768;
const TEMPERATURE: f64 = 0.6;
const TOP_P: f64 = 0.95;

/// A named evaluation set with the settings to measure a policy on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Benchmark {
    /// Name in records and reports: the built-in name, or the file's name without extension.
    pub name: String,
    /// The file that the problems were read from.
    pub path: PathBuf,
    /// What is asked for after the question; empty for nothing.
    pub instruction: String,
    /// The problems, in file order.
    pub problems: Vec<Problem>,
    /// Completions per problem (the k of mean@k).
    pub samples: u32,
    /// Token limit of a completion.
    pub completion_tokens_max: u32,
    /// Sampling temperature.
    pub temperature: f64,
    /// Nucleus mass kept when sampling.
    pub top_p: f64,
}

/// A benchmark known by name: where its file lies under the data directory, and which fields hold what.
struct BuiltIn {
    name: &'static str,
    file: &'static str,
    question: &'static str,
    answer: &'static str,
    id: Option<&'static str>,
    level: Option<&'static str>,
    samples: u32,
}

const BUILT_IN: [BuiltIn; 5] = [
    BuiltIn {
        name: "aime24",
        file: "aime24/test.jsonl",
        question: "problem",
        answer: "answer",
        id: Some("id"),
        level: None,
        samples: 16,
    },
    BuiltIn {
        name: "amc23",
        file: "amc23/test.jsonl",
        question: "problem",
        answer: "answer",
        id: Some("id"),
        level: None,
        samples: 16,
    },
    BuiltIn {
        name: "gsm8k",
        file: "gsm8k/test.jsonl",
        question: "question",
        answer: "answer",
        id: None,
        level: None,
        samples: 1,
    },
    BuiltIn {
        name: "math500",
        file: "math500/test.jsonl",
        question: "problem",
        answer: "answer",
        id: Some("unique_id"),
        level: Some("level"),
        samples: 1,
    },
    BuiltIn {
        name: "svamp",
        file: "svamp/test.jsonl",
        question: "Body+Question",
        answer: "Answer",
        id: Some("ID"),
        level: None,
        samples: 1,
    },
];

impl Benchmark {
    /// Names of the built-in benchmarks, sorted.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|benchmark| benchmark.name)
    }

    /// The built-in benchmark of this name, read from `benchmarks_directory/NAME/test.jsonl`; or the problem file of this
    /// path (`.jsonl`, `.json`, `.parquet`), read by `fields`, which built-in benchmarks do not need.
    ///
    /// # Errors
    /// [`RlError::Setting`] for an unknown name, or a name without a data directory; [`RlError::File`] for a missing
    /// file; those of [`read_problems`].
    pub fn open(
        name_or_path: &str,
        benchmarks_directory: Option<&Path>,
        fields: &ProblemFields,
    ) -> Result<Self, RlError> {
        if let Some(built_in) = BUILT_IN.iter().find(|benchmark| benchmark.name == name_or_path) {
            return built_in.open(benchmarks_directory);
        }
        let path = Path::new(name_or_path);
        let extension = path.extension().and_then(|extension| extension.to_str());
        if !matches!(extension, Some("jsonl" | "json" | "parquet")) {
            let message = format!(
                "is `{name_or_path}`, which is neither built in nor a problem file; use one of {}, or the path of a \
                 file that ends in `.jsonl`, `.json` or `.parquet`",
                listed_names()
            );
            return Err(RlError::Setting { field: "benchmark", message });
        }
        if !path.exists() {
            let message = format!("does not exist; give an existing problem file or one of {}", listed_names());
            return Err(RlError::File { path: path.to_owned(), message });
        }
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or(name_or_path);
        Ok(Self::with_default_settings(name, path, read_problems(path, fields)?))
    }

    /// The question with the instruction on a line of its own; the question alone where there is no instruction.
    pub fn instructed_question(&self, problem: &Problem) -> String {
        if self.instruction.is_empty() {
            problem.question.clone()
        } else {
            format!("{}\n{}", problem.question, self.instruction)
        }
    }

    fn with_default_settings(name: &str, path: &Path, problems: Vec<Problem>) -> Self {
        Self {
            name: name.to_owned(),
            path: path.to_owned(),
            instruction: INSTRUCTION.to_owned(),
            problems,
            samples: 1,
            completion_tokens_max: COMPLETION_TOKENS_MAX,
            temperature: TEMPERATURE,
            top_p: TOP_P,
        }
    }
}

impl BuiltIn {
    fn open(&self, benchmarks_directory: Option<&Path>) -> Result<Benchmark, RlError> {
        let Self { name, file, .. } = self;
        let Some(benchmarks_directory) = benchmarks_directory else {
            let message =
                format!("is `{name}`, but no data directory was given; pass the directory that holds `{file}`");
            return Err(RlError::Setting { field: "benchmark", message });
        };
        let path = benchmarks_directory.join(file);
        if !path.exists() {
            let message = format!(
                "does not exist, and benchmark `{name}` is read from there; put the file there or pass the data \
                 directory that holds `{file}`"
            );
            return Err(RlError::File { path, message });
        }
        let fields = ProblemFields {
            question: self.question.to_owned(),
            answer: self.answer.to_owned(),
            id: self.id.map(str::to_owned),
            level: self.level.map(str::to_owned),
        };
        let problems = read_problems(&path, &fields)?;
        Ok(Benchmark { samples: self.samples, ..Benchmark::with_default_settings(name, &path, problems) })
    }
}

fn listed_names() -> String {
    let names: Vec<_> = Benchmark::names().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A data directory with one row for each built-in benchmark, fields and kinds as published.
    fn benchmarks_directory() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, row) in [
            ("aime24", r#"{"id":60,"problem":"q","solution":"s","answer":"025","url":"u","question":"q"}"#),
            ("amc23", r#"{"id":0,"problem":"q","answer":27.0,"url":"u","question":"q"}"#),
            ("gsm8k", r#"{"question":"q","answer":"9 * 2\n\n#### 18"}"#),
            (
                "math500",
                r#"{"problem":"q","solution":"s","answer":"\\frac{1}{2}","subject":"Algebra","level":5,"unique_id":"test/algebra/1.json"}"#,
            ),
            (
                "svamp",
                r#"{"Answer":145.0,"Question":"How big?","Equation":"( 290.0 / 2.0 )","Body":"Two.","Type":"Common-Division","ID":"chal-777","idx":0}"#,
            ),
        ] {
            record::write::create_directory(&directory.path().join(name)).unwrap();
            record::write::replace(&directory.path().join(name).join("test.jsonl"), row.as_bytes()).unwrap();
        }
        directory
    }

    #[test]
    fn built_in_benchmarks_map_their_fields() {
        let directory = benchmarks_directory();
        for (name, id, question, gold, level, samples) in [
            ("aime24", "60", "q", "025", None, 16),
            ("amc23", "0", "q", "27", None, 16),
            ("gsm8k", "1", "q", "9 * 2\n\n#### 18", None, 1),
            ("math500", "test/algebra/1.json", "q", r"\frac{1}{2}", Some("5"), 1),
            ("svamp", "chal-777", "Two. How big?", "145", None, 1),
        ] {
            let benchmark = Benchmark::open(name, Some(directory.path()), &ProblemFields::default()).unwrap();
            let [problem] = benchmark.problems.as_slice() else { panic!("{name} has one problem") };
            let read = (problem.id.as_str(), problem.question.as_str(), problem.gold.as_str());
            assert_eq!(read, (id, question, gold), "{name}");
            assert_eq!((problem.level.as_deref(), benchmark.samples), (level, samples), "{name}");
            assert_eq!(
                benchmark.instructed_question(problem),
                format!(r"{question}{}Please reason step by step, and put your final answer within \boxed{{}}.", '\n')
            );
        }
    }

    #[test]
    fn a_problem_file_is_a_benchmark_named_after_the_file() {
        let directory = benchmarks_directory();
        let path = directory.path().join("mine.jsonl");
        record::write::replace(&path, br#"{"q": "1+1?", "answer": 2}"#).unwrap();
        let fields = ProblemFields { question: "q".to_owned(), ..ProblemFields::default() };
        let benchmark = Benchmark::open(path.to_str().unwrap(), None, &fields).unwrap();
        assert_eq!((benchmark.name.as_str(), benchmark.problems[0].gold.as_str()), ("mine", "2"));
    }

    #[test]
    fn what_cannot_be_opened_is_refused_with_a_remedy() {
        let directory = benchmarks_directory();
        let inner = directory.path().join("svamp");
        let names = "`aime24`, `amc23`, `gsm8k`, `math500`, `svamp`";
        for (name, benchmarks_directory, expected) in [
            (
                "gsm8",
                None,
                format!("`benchmark` is `gsm8`, which is neither built in nor a problem file; use one of {names}, or"),
            ),
            (
                "gsm8k",
                None,
                "`benchmark` is `gsm8k`, but no data directory was given; pass the directory that holds \
                 `gsm8k/test.jsonl`"
                    .to_owned(),
            ),
            (
                "gsm8k",
                Some(inner.as_path()),
                "svamp/gsm8k/test.jsonl: does not exist, and benchmark `gsm8k` is read from there; put the file there \
                 or pass the data directory that holds `gsm8k/test.jsonl`"
                    .to_owned(),
            ),
            (
                "nowhere.jsonl",
                None,
                format!("nowhere.jsonl: does not exist; give an existing problem file or one of {names}"),
            ),
        ] {
            let error = Benchmark::open(name, benchmarks_directory, &ProblemFields::default()).unwrap_err().to_string();
            assert!(error.contains(&expected), "{error}");
        }
    }
}
