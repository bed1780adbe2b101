//! Benchmarks by name, or any problem file: problems with the instruction and the settings they are measured with.
//!
//! The settings are the field's practice for reasoning models (DeepSeek-R1, arXiv 2501.12948, section 3): up to 32,768
//! tokens, temperature 0.6, top-p 0.95. One limit serves all benchmarks, because the limit is part of what is measured.
//! AIME, AMC and GPQA-Diamond have 30, 40 and 198 problems, so one completion each says little: they take the mean of
//! 16, 16 and 4.
//!
//! Where a file comes from on the network is said here; fetching it is the program's.

use std::path::{Path, PathBuf};

use record::ProblemLeftOut;
use verify::Extraction;

use crate::{FieldsFrom, Problem, ProblemFields, RlError, gpqa::read_gpqa, problem::read_problem_rows};

/// What benchmarks with an answer to work out ask for, after the question.
pub const INSTRUCTION: &str = r"Please reason step by step, and put your final answer within \boxed{}.";

/// What multiple-choice benchmarks ask for, after the question and its options.
pub const CHOICE_INSTRUCTION: &str = "Please reason step by step, and end with a line of the form \"Answer: X\", where X \
                                      is one of the letters A, B, C and D.";

const COMPLETION_TOKENS_MAX: u32 = 32_768;
const TEMPERATURE: f64 = 0.6;
const TOP_P: f64 = 0.95;

/// An evaluation set with the settings to measure a policy on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Benchmark {
    /// Name in records and reports: the built-in name, or the file's name without extension.
    pub name: String,
    /// The file that the problems were read from.
    pub path: PathBuf,
    /// What is asked for after the question; empty for nothing.
    pub instruction: String,
    /// How answers are found.
    pub extraction: Extraction,
    /// Seed of the order of multiple-choice options; none where there are no options.
    pub choices_seed: Option<u64>,
    /// The problems in file order; what cannot be measured is in its place, with the reason.
    pub problems: Vec<Result<Problem, ProblemLeftOut>>,
    /// Completions per problem (the k of mean@k).
    pub samples: u32,
    /// Token limit of a completion.
    pub completion_tokens_max: u32,
    /// Sampling temperature.
    pub temperature: f64,
    /// Nucleus mass kept when sampling.
    pub top_p: f64,
}

/// A file of a data set on the Hugging Face hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HubFile {
    /// Owner and name of the data set.
    pub repository: &'static str,
    /// Path of the file in it.
    pub file: &'static str,
}

/// A benchmark known by name: where its file is, and what it is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedBenchmark {
    /// The name.
    pub name: &'static str,
    /// Where its file is published; none for one that may not be fetched without its authors' consent.
    pub hub: Option<HubFile>,
    /// Where its file may lie below the directory of benchmarks, the first that exists.
    pub files: &'static [&'static str],
    form: Form,
    samples: u32,
}

/// What the rows of a benchmark's file are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Question and answer in the fields of these names.
    Fields { question: &'static str, answer: &'static str, id: Option<&'static str>, level: Option<&'static str> },
    /// The published CSV file of GPQA.
    Gpqa,
}

const NAMED: [NamedBenchmark; 6] = [
    NamedBenchmark {
        name: "aime24",
        hub: Some(HubFile { repository: "HuggingFaceH4/aime_2024", file: "data/train-00000-of-00001.parquet" }),
        files: &["aime24/test.jsonl", "aime24/test.parquet"],
        form: Form::Fields { question: "problem", answer: "answer", id: Some("id"), level: None },
        samples: 16,
    },
    NamedBenchmark {
        name: "amc23",
        hub: Some(HubFile { repository: "math-ai/amc23", file: "test-00000-of-00001.parquet" }),
        files: &["amc23/test.jsonl", "amc23/test.parquet"],
        form: Form::Fields { question: "question", answer: "answer", id: Some("id"), level: None },
        samples: 16,
    },
    NamedBenchmark {
        name: "gpqa-diamond",
        hub: None,
        files: &["gpqa-diamond/gpqa_diamond.csv", "gpqa_diamond.csv"],
        form: Form::Gpqa,
        samples: 4,
    },
    NamedBenchmark {
        name: "gsm8k",
        hub: Some(HubFile { repository: "openai/gsm8k", file: "main/test-00000-of-00001.parquet" }),
        files: &["gsm8k/test.jsonl", "gsm8k/test.parquet"],
        form: Form::Fields { question: "question", answer: "answer", id: None, level: None },
        samples: 1,
    },
    NamedBenchmark {
        name: "math500",
        hub: Some(HubFile { repository: "HuggingFaceH4/MATH-500", file: "test.jsonl" }),
        files: &["math500/test.jsonl", "math500/test.parquet"],
        form: Form::Fields { question: "problem", answer: "answer", id: Some("unique_id"), level: Some("level") },
        samples: 1,
    },
    NamedBenchmark {
        name: "svamp",
        hub: Some(HubFile { repository: "ChilleD/SVAMP", file: "data/test-00000-of-00001.parquet" }),
        files: &["svamp/test.jsonl", "svamp/test.parquet"],
        form: Form::Fields { question: "Body+Question", answer: "Answer", id: Some("ID"), level: None },
        samples: 1,
    },
];

impl NamedBenchmark {
    /// All of them, by name.
    pub fn all() -> &'static [Self] {
        &NAMED
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        NAMED.iter().find(|benchmark| benchmark.name == name)
    }

    /// The benchmark's file: `place` itself where it is a file, otherwise the first of [`Self::files`] below it.
    ///
    /// # Errors
    /// [`RlError::File`] when there is none.
    pub fn find(&self, place: &Path) -> Result<PathBuf, RlError> {
        if place.is_file() {
            return Ok(place.to_owned());
        }
        let candidates = self.files.iter().map(|file| place.join(file));
        candidates.into_iter().find(|path| path.is_file()).ok_or_else(|| {
            let files: Vec<_> = self.files.iter().map(|file| format!("`{file}`")).collect();
            let message = format!(
                "does not hold {}, and benchmark `{}` is read from there; put the file there, or give the file itself",
                files.join(" or "),
                self.name
            );
            RlError::File { path: place.to_owned(), message }
        })
    }

    /// The benchmark as its file at `path` has it; options of multiple-choice problems are shuffled by `choices_seed`.
    ///
    /// # Errors
    /// Those of [`crate::read_problems`] that concern the file as a whole, or when no row can be used.
    pub fn read(&self, path: &Path, choices_seed: u64) -> Result<Benchmark, RlError> {
        let rows = match self.form {
            Form::Gpqa => read_gpqa(path, choices_seed)?,
            Form::Fields { question, answer, id, level } => {
                let fields = ProblemFields {
                    question: question.to_owned(),
                    answer: answer.to_owned(),
                    id: id.map(str::to_owned),
                    level: level.map(str::to_owned),
                };
                read_problem_rows(path, &fields, FieldsFrom::Benchmark)?
            }
        };
        let benchmark = Benchmark::with_default_settings(self.name, path, rows)?;
        let benchmark = Benchmark { samples: self.samples, ..benchmark };
        Ok(match self.form {
            Form::Fields { .. } => benchmark,
            Form::Gpqa => Benchmark {
                instruction: CHOICE_INSTRUCTION.to_owned(),
                extraction: Extraction::Auto {},
                choices_seed: Some(choices_seed),
                ..benchmark
            },
        })
    }
}

impl Benchmark {
    /// The problem file of this path (`.jsonl`, `.json`, `.parquet`), read by `fields` of the command line.
    ///
    /// # Errors
    /// [`RlError::Setting`] for a path that is no problem file's; [`RlError::File`] for a missing file; those of
    /// [`crate::read_problems`] that concern the file as a whole, or when no row can be used.
    pub fn read_file(path: &Path, fields: &ProblemFields) -> Result<Self, RlError> {
        let extension = path.extension().and_then(|extension| extension.to_str());
        if !matches!(extension, Some("jsonl" | "json" | "parquet")) {
            let message = format!(
                "is `{}`, which is neither a name nor a problem file; use one of {}, or the path of a file that ends \
                 in `.jsonl`, `.json` or `.parquet`",
                path.display(),
                listed_names()
            );
            return Err(RlError::Setting { field: "benchmark", message });
        }
        if !path.exists() {
            let message = format!("does not exist; give an existing problem file or one of {}", listed_names());
            return Err(RlError::File { path: path.to_owned(), message });
        }
        let name = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        Self::with_default_settings(&name, path, read_problem_rows(path, fields, FieldsFrom::Options)?)
    }

    fn with_default_settings(
        name: &str,
        path: &Path,
        mut rows: Vec<Result<Problem, RlError>>,
    ) -> Result<Self, RlError> {
        if rows.iter().all(Result::is_err) {
            // The first reason stands for all: most often a field has another name.
            return Err(rows.swap_remove(0).expect_err("no row is usable"));
        }
        Ok(Self {
            name: name.to_owned(),
            path: path.to_owned(),
            instruction: INSTRUCTION.to_owned(),
            extraction: Extraction::Auto {},
            choices_seed: None,
            problems: rows.into_iter().map(|row| row.map_err(left_out)).collect(),
            samples: 1,
            completion_tokens_max: COMPLETION_TOKENS_MAX,
            temperature: TEMPERATURE,
            top_p: TOP_P,
        })
    }
}

/// What the record of an evaluation says of a problem that cannot be used.
pub fn left_out(error: RlError) -> ProblemLeftOut {
    match error {
        RlError::Row { row, message, .. } => ProblemLeftOut { problem: format!("row {row}"), reason: message },
        RlError::Problem { problem, message } => {
            ProblemLeftOut { problem: format!("problem {problem}"), reason: message }
        }
        other @ (RlError::Io { .. }
        | RlError::File { .. }
        | RlError::Setting { .. }
        | RlError::NotFinite { .. }
        | RlError::Fault { .. }
        | RlError::Memory { .. }
        | RlError::Model(_)
        | RlError::Record(_)) => ProblemLeftOut { problem: "unknown".to_owned(), reason: other.to_string() },
    }
}

fn listed_names() -> String {
    let names: Vec<_> = NAMED.iter().map(|benchmark| format!("`{}`", benchmark.name)).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use record::write;

    use super::*;

    /// One row of each named benchmark's file, fields and kinds as published.
    const ROWS: [(&str, &str, &str); 6] = [
        ("aime24", "test.jsonl", r#"{"id":60,"problem":"q","solution":"s","answer":"025","url":"u","year":"2024"}"#),
        ("amc23", "test.jsonl", r#"{"id":0,"question":"q","answer":27.0,"url":"u"}"#),
        (
            "gpqa-diamond",
            "gpqa_diamond.csv",
            "Question,Correct Answer,Incorrect Answer 1,Incorrect Answer 2,Incorrect Answer 3,Record ID\nq,a,b,c,d,rec1\n",
        ),
        ("gsm8k", "test.jsonl", r#"{"question":"q","answer":"9 * 2\n\n#### 18"}"#),
        (
            "math500",
            "test.jsonl",
            r#"{"problem":"q","solution":"s","answer":"\\frac{1}{2}","subject":"Algebra","level":5,"unique_id":"test/algebra/1.json"}"#,
        ),
        (
            "svamp",
            "test.jsonl",
            r#"{"Answer":145.0,"Question":"How big?","Equation":"( 290.0 / 2.0 )","Body":"Two.","Type":"Common-Division","ID":"chal-777","idx":0}"#,
        ),
    ];

    fn benchmarks_directory() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, file, row) in ROWS {
            write::create_directory(&directory.path().join(name)).unwrap();
            write::replace(&directory.path().join(name).join(file), row.as_bytes()).unwrap();
        }
        directory
    }

    #[test]
    fn named_benchmarks_map_their_fields() {
        let directory = benchmarks_directory();
        for (name, id, question, gold, level, samples) in [
            ("aime24", "60", "q", "025", None, 16),
            ("amc23", "0", "q", "27", None, 16),
            ("gsm8k", "1", "q", "9 * 2\n\n#### 18", None, 1),
            ("math500", "test/algebra/1.json", "q", r"\frac{1}{2}", Some("5"), 1),
            ("svamp", "chal-777", "Two. How big?", "145", None, 1),
        ] {
            let named = NamedBenchmark::named(name).unwrap();
            let benchmark = named.read(&named.find(directory.path()).unwrap(), 0).unwrap();
            let [Ok(problem)] = benchmark.problems.as_slice() else { panic!("{name} has one problem") };
            let read = (problem.id.as_str(), problem.question.as_str(), problem.gold.as_str());
            assert_eq!(read, (id, question, gold), "{name}");
            assert_eq!((problem.level.as_deref(), benchmark.samples), (level, samples), "{name}");
            assert_eq!(
                (benchmark.instruction.as_str(), benchmark.completion_tokens_max),
                (r"Please reason step by step, and put your final answer within \boxed{}.", 32_768)
            );
        }
    }

    #[test]
    fn gpqa_asks_for_a_letter_and_finds_it_where_it_was_asked_for() {
        let directory = benchmarks_directory();
        let named = NamedBenchmark::named("gpqa-diamond").unwrap();
        let benchmark = named.read(&named.find(directory.path()).unwrap(), 0).unwrap();
        let [Ok(problem)] = benchmark.problems.as_slice() else { panic!("one problem") };
        assert!(problem.question.starts_with("q\n\nA) "), "{}", problem.question);
        assert_eq!((benchmark.choices_seed, benchmark.samples), (Some(0), 4));
        assert!(benchmark.instruction.contains("\"Answer: X\""), "{}", benchmark.instruction);
        let gold = verify::Gold::parse(&problem.gold).unwrap();
        for (completion, expected) in [
            (format!("It is c, so\nAnswer: {}", problem.gold), true),
            (format!("It is c, so\nAnswer: {}", if problem.gold == "A" { "B" } else { "A" }), false),
            (format!("So\n\n**Answer: {}**", problem.gold), true),
            (format!("Answer: ({})", problem.gold), true),
            (format!("I wonder about option {}", if problem.gold == "A" { "B" } else { "A" }), false),
        ] {
            let verdict = verify::check(&completion, &gold, &benchmark.extraction).verdict;
            assert_eq!(verdict.is_correct(), expected, "{completion}");
        }
    }

    #[test]
    fn a_benchmark_is_found_as_a_file_or_below_a_directory() {
        let directory = benchmarks_directory();
        let named = NamedBenchmark::named("gsm8k").unwrap();
        let file = directory.path().join("gsm8k/test.jsonl");
        assert_eq!(named.find(&file).unwrap(), file);
        assert_eq!(named.find(directory.path()).unwrap(), file);
        let error = named.find(&directory.path().join("svamp")).unwrap_err().to_string();
        let expected = "svamp: does not hold `gsm8k/test.jsonl` or `gsm8k/test.parquet`, and benchmark `gsm8k` is read \
                        from there; put the file there, or give the file itself";
        assert!(error.ends_with(expected), "{error}");
    }

    #[test]
    fn every_benchmark_but_gpqa_is_on_the_hub() {
        for named in NamedBenchmark::all() {
            let Some(HubFile { repository, file }) = named.hub else {
                assert_eq!(named.name, "gpqa-diamond");
                continue;
            };
            assert!(repository.split('/').count() == 2, "{repository}");
            let extension = Path::new(file).extension().and_then(|extension| extension.to_str());
            assert!(matches!(extension, Some("jsonl" | "parquet")), "{file}");
        }
    }

    #[test]
    fn a_problem_file_is_a_benchmark_named_after_the_file_and_keeps_its_bad_rows() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mine.jsonl");
        write::replace(&path, b"{\"q\": \"1+1?\", \"answer\": 2}\n{\"q\": \"1+2?\"}\nnonsense\n").unwrap();
        let fields = ProblemFields { question: "q".to_owned(), ..ProblemFields::default() };
        let benchmark = Benchmark::read_file(&path, &fields).unwrap();
        assert_eq!(benchmark.name, "mine");
        let [Ok(problem), Err(missing), Err(malformed)] = benchmark.problems.as_slice() else { panic!("three rows") };
        assert_eq!(problem.gold, "2");
        assert_eq!((missing.problem.as_str(), malformed.problem.as_str()), ("row 2", "row 3"));
        assert!(missing.reason.starts_with("field `answer` is missing"), "{}", missing.reason);
        assert!(malformed.reason.starts_with("not a JSON object"), "{}", malformed.reason);
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_a_remedy() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("all-bad.jsonl");
        write::replace(&path, b"{\"q\": 1}\n{\"q\": 2}\n").unwrap();
        let names = "`aime24`, `amc23`, `gpqa-diamond`, `gsm8k`, `math500`, `svamp`";
        for (path, expected) in [
            (
                Path::new("gsm8"),
                format!("`benchmark` is `gsm8`, which is neither a name nor a problem file; use one of {names}, or"),
            ),
            (
                Path::new("nowhere.jsonl"),
                format!("nowhere.jsonl: does not exist; give an existing problem file or one of {names}"),
            ),
            (&path, "all-bad.jsonl, row 1: field `question` is missing".to_owned()),
        ] {
            let error = Benchmark::read_file(path, &ProblemFields::default()).unwrap_err().to_string();
            assert!(error.contains(&expected), "{error}");
        }
    }
}
