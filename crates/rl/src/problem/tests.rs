//! What a problem file may hold, and what is said of one that may not be used.

use std::{fs, path::PathBuf};

use super::*;

/// A file named `name` in a fresh directory, which lives as long as the first value.
fn file(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    record::write::replace(&path, bytes).unwrap();
    (directory, path)
}

fn read(name: &str, text: &str, fields: &str) -> Result<Vec<Problem>, String> {
    let (_directory, path) = file(name, text.as_bytes());
    read_problems(&path, &toml::from_str(fields).unwrap()).map_err(|error| error.to_string())
}

fn shipped(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn problem(id: &str, question: &str, gold: &str, level: Option<&str>) -> Problem {
    Problem {
        id: ProblemId::new(id),
        question: question.to_owned(),
        gold: gold.to_owned(),
        level: level.map(str::to_owned),
    }
}

#[test]
fn rows_are_numbered_by_line_when_no_id_is_mapped() {
    let problems = read(
        "a.jsonl",
        "\u{feff}{\"question\": \"1+1?\", \"answer\": \"#### 2\"}\r\n\r\n{\"question\": \"2+2?\", \"answer\": 4}\n\n",
        "",
    );
    assert_eq!(problems.unwrap(), [problem("1", "1+1?", "#### 2", None), problem("3", "2+2?", "4", None)]);
}

#[test]
fn mapped_fields_are_found_and_joined() {
    let row = r#"{"Body": "A pen costs 2.", "Question": "And two?", "Answer": 145.0, "ID": "chal-7", "hard": 5}"#;
    let fields = "question = 'Body + Question'\nanswer = 'Answer'\nid = 'ID'\nlevel = 'hard'";
    assert_eq!(read("a.json", row, fields).unwrap(), [problem("chal-7", "A pen costs 2. And two?", "145", Some("5"))]);
}

#[test]
fn a_null_level_is_no_level() {
    let row = r#"{"question": "q", "answer": "a", "level": null}"#;
    assert_eq!(read("a.jsonl", row, "level = 'level'").unwrap(), [problem("1", "q", "a", None)]);
}

#[test]
fn an_unusable_row_is_named_with_field_found_fields_and_remedy() {
    let remedy = "set `answer` in `[problems.fields]` to the field that holds it, or mend the row";
    let asked = "set `question` in `[problems.fields]` to the field that holds it, or mend the row";
    for (row, expected) in [
        (
            r#"{"question": "q", "solution": "2"}"#,
            format!("field `answer` is missing (fields found: `question`, `solution`); {remedy}"),
        ),
        (
            r#"{"question": "q", "answer": ["2"]}"#,
            format!("field `answer` is a list, not text or a number (fields found: `answer`, `question`); {remedy}"),
        ),
        (
            r#"{"question": "q", "answer": null}"#,
            format!("field `answer` is null (fields found: `answer`, `question`); {remedy}"),
        ),
        (
            r#"{"question": "q", "answer": " "}"#,
            format!("field `answer` is empty (fields found: `answer`, `question`); {remedy}"),
        ),
        (
            r#"{"question": "", "answer": "2"}"#,
            format!("field `question` is empty (fields found: `answer`, `question`); {asked}"),
        ),
        (
            r#"{"question": 7, "answer": "2"}"#,
            format!("field `question` is a number, not text (fields found: `answer`, `question`); {asked}"),
        ),
    ] {
        let text = format!("{}\n{row}\n", r#"{"question": "fine", "answer": "1"}"#);
        let error = read("a.jsonl", &text, "").unwrap_err();
        assert!(error.ends_with(&format!("a.jsonl, row 2: {expected}")), "{row}\n{error}");
    }
}

#[test]
fn the_remedy_names_the_place_where_fields_are_mapped() {
    let row = r#"{"question": "q", "answer": "a", "id": 60}"#;
    let (_directory, path) = file("a.jsonl", format!("{row}\n{row}\n{{\"question\": \"q\", \"id\": 1}}").as_bytes());
    let fields = ProblemFields { id: Some("id".to_owned()), ..ProblemFields::default() };
    for (from, twice, missing) in [
        (
            FieldsFrom::Table("[evaluation.fields]"),
            "or leave `id` out of `[evaluation.fields]`",
            "set `answer` in `[evaluation.fields]` to the field that holds it, or mend the row",
        ),
        (FieldsFrom::Options, "or leave out `--field-id`", "give the field that holds it with `--field-answer`, or"),
        (FieldsFrom::Benchmark, "or get the benchmark's file anew", "mend the row, or get the benchmark's file anew"),
    ] {
        let errors: Vec<String> = read_problem_rows(&path, &fields, from)
            .unwrap()
            .into_iter()
            .filter_map(|row| row.err().map(|error| error.to_string()))
            .collect();
        assert!(errors[0].contains(twice) && errors[1].contains(missing), "{errors:?}");
    }
}

#[test]
fn unusable_lines_and_files_say_what_would_be_right() {
    for (name, text, expected) in [
        ("a.jsonl", "", "a.jsonl: holds no rows; give a file with one problem or demonstration a row"),
        ("a.jsonl", "\n\n", "a.jsonl: holds no rows"),
        ("a.json", "[\n {}\n]", "row 1: a list begins here; write one JSON object a line (`jq -c '.[]'`"),
        ("a.jsonl", "{\"question\": ", "row 1: not a JSON object: EOF while parsing a value at column 12"),
        ("a.jsonl", "7", "row 1: not a JSON object: invalid type: integer `7`, expected a map"),
        ("a.csv", "question,answer", "a.csv: the extension is `csv`; give a file that ends in `.jsonl`"),
        ("a.parquet", "not this", "a.parquet: cannot be read as Parquet: "),
    ] {
        let error = read(name, text, "").unwrap_err();
        assert!(error.contains(expected), "{text}\n{error}");
    }
    let (_directory, path) = file("latin1.jsonl", b"{\"question\": \"caf\xe9\"}");
    let error = read_problems(&path, &ProblemFields::default()).unwrap_err().to_string();
    assert!(error.contains("is not UTF-8 from byte 17 on; convert it"), "{error}");
    let error = read_problems(&path.join("absent.jsonl"), &ProblemFields::default()).unwrap_err().to_string();
    assert!(error.starts_with("cannot read the file "), "{error}");
}

#[test]
fn an_id_that_occurs_twice_is_refused_with_both_rows() {
    let row = r#"{"question": "q", "answer": "a", "id": 60}"#;
    let error = read("a.jsonl", &format!("{row}\n{row}"), "id = 'id'").unwrap_err();
    assert!(error.contains("row 2: id `60` is that of row 1; make the ids unique"), "{error}");
}

#[test]
fn a_misspelt_fields_table_is_refused() {
    assert!(toml::from_str::<ProblemFields>("questoin = 'q'").is_err());
}

#[test]
fn parquet_files_of_pyarrow_are_read() {
    let fields = ProblemFields { level: Some("level".to_owned()), ..fields("problem", "answer") };
    for name in ["problems-snappy.parquet", "problems-gzip.parquet"] {
        assert_eq!(
            read_problems(&shipped(name), &fields).unwrap(),
            [
                problem("1", "How much is 100 + 45?", "145", Some("2")),
                problem("2", "Halve 55.", "27.5", None),
                problem("3", "Write a third of 3.", "1", Some("10")),
            ],
            "{name}"
        );
    }
    let decimals = read_problems(&shipped("problems-snappy.parquet"), &self::fields("problem", "price")).unwrap();
    assert_eq!(decimals.iter().map(|problem| problem.gold.as_str()).collect::<Vec<_>>(), ["1.5", "-0.05", "7"]);
}

fn fields(question: &str, answer: &str) -> ProblemFields {
    ProblemFields { question: question.to_owned(), answer: answer.to_owned(), id: None, level: None }
}

#[test]
fn unusable_columns_and_compressions_of_parquet_are_refused() {
    let found = "(fields found: `answer`, `level`, `price`, `problem`, `seen`, `tags`)";
    for (name, fields, expected) in [
        ("problems-snappy.parquet", fields("question", "gold"), format!("row 1: field `question` is missing {found}")),
        ("problems-snappy.parquet", fields("problem", "gold"), format!("row 1: field `gold` is missing {found}")),
        ("problems-snappy.parquet", fields("problem", "tags"), "field `tags` is nested or a time, not text".to_owned()),
        ("problems-snappy.parquet", fields("problem", "seen"), "field `seen` is nested or a time, not text".to_owned()),
        ("problems-snappy.parquet", fields("problem", "level"), format!("row 2: field `level` is null {found}")),
        (
            "problems-zstd.parquet",
            fields("problem", "answer"),
            "problems-zstd.parquet: cannot be read as Parquet: Parquet error: ".to_owned(),
        ),
    ] {
        let error = read_problems(&shipped(name), &fields).unwrap_err().to_string();
        assert!(error.contains(&expected), "{error}");
    }
}

#[test]
fn sizes_that_a_parquet_file_cannot_have_are_refused_by_column() {
    let whole = fs::read(shipped("problems-snappy.parquet")).unwrap();
    let changed = |from: &[u8], to: &[u8]| {
        let places: Vec<usize> = (0..whole.len()).filter(|&at| whole[at..].starts_with(from)).collect();
        assert_eq!(places.len(), 1, "{from:x?}");
        let bytes = [&whole[..places[0]], to, &whole[places[0] + from.len()..]].concat();
        let (_directory, path) = file("a.parquet", &bytes);
        read_problems(&path, &fields("problem", "answer")).unwrap_err().to_string()
    };
    // The first page header: a dictionary (type 2) of 61 bytes, 62 compressed, as zigzag varints.
    let page = [0x15, 0x04, 0x15, 0x7a, 0x15, 0x7c];
    for (header, claims) in [
        (
            [0x15, 0x04, 0x15, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0x15, 0x7c].as_slice(),
            "62 bytes that claims to be 2147483647",
        ),
        (&[0x15, 0x04, 0x15, 0x7b, 0x15, 0x7c], "62 bytes that claims to be -62"),
        (&[0x15, 0x04, 0x15, 0x7a, 0x15, 0x7d], "-63 bytes that claims to be 61"),
    ] {
        let error = changed(&page, header);
        assert!(error.contains(&format!("column `problem` has a page of {claims}")), "{error}");
    }
    // The dictionary as a page of an index (type 1), which is passed over.
    let error = changed(&page, &[0x15, 0x02, 0x15, 0x7a, 0x15, 0x7c]);
    let expected = "cannot be read as Parquet: the parquet crate gives up, with `";
    assert!(error.contains(expected) && error.contains("; write it anew"), "{error}");
    // After 4 bytes and a header of 15 come 255, compressed, in a column of 143.
    let error = changed(&page, &[0x15, 0x04, 0x15, 0x7a, 0x15, 0xfe, 0x03]);
    assert!(error.contains("column `problem` has a page up to byte 274, and ends at 147"), "{error}");
    // The header has a list of more than there is.
    let error = changed(&page, &[0x15, 0x04, 0x19, 0xfc, 0xff, 0x7f]);
    assert!(error.contains("column `problem` has a page at byte 4 without a header of at most 65536 bytes"), "{error}");
    // In the footer, the sizes of the column: 140 bytes, 143 compressed, which becomes -144.
    let error = changed(&[0x16, 0x98, 0x02, 0x16, 0x9e, 0x02], &[0x16, 0x98, 0x02, 0x16, 0x9f, 0x02]);
    assert!(error.contains("column `problem` is said to begin at 4 with -144 bytes"), "{error}");
    // 1,430 bytes compressed, among them the 113 of `answer` and those of all other columns.
    let error = changed(&[0x16, 0x98, 0x02, 0x16, 0x9e, 0x02], &[0x16, 0x98, 0x02, 0x16, 0xac, 0x16]);
    assert!(error.contains("the columns that are read claim 1543 bytes together, and it has 1466"), "{error}");
}

#[test]
fn a_parquet_file_with_two_columns_of_a_wanted_name_is_refused() {
    let mut bytes = fs::read(shipped("problems-snappy.parquet")).unwrap();
    for at in 0..bytes.len() - 5 {
        if bytes[at..].starts_with(b"price") {
            bytes[at..at + 5].copy_from_slice(b"level");
        }
    }
    let (_directory, path) = file("a.parquet", &bytes);
    assert_eq!(read_problems(&path, &fields("problem", "answer")).unwrap().len(), 3);
    let error = read_problems(&path, &fields("problem", "level")).unwrap_err().to_string();
    assert!(
        error.contains(
            "cannot be read as Parquet: Parquet error: it has two columns `level` where it may have one; write"
        ),
        "{error}"
    );
}

#[test]
fn a_parquet_file_of_a_few_bytes_that_becomes_many_rows_is_refused() {
    // By pyarrow 26: 100,000 rows of one problem in 659 bytes.
    let error = read_problems(&shipped("problems-many.parquet"), &fields("problem", "answer")).unwrap_err().to_string();
    // A row counts 1,024 bytes and its texts of 12 and 1.
    let row = 659 * 1_033 / (1_024 + 13) + 1;
    assert!(error.contains(&format!("at row {row} its rows take more than 1033 times its 659 bytes")), "{error}");
}

#[test]
fn a_parquet_footer_of_fields_that_are_not_parquets_is_refused() {
    // Field 15, a list of 300 lists of 2,147,483,647 flags, which take no byte each.
    let many = [&[0xf9, 0xf9, 0xac, 0x02][..], &[0xf1, 0xff, 0xff, 0xff, 0xff, 0x07].repeat(300), &[0]].concat();
    // Field 2, the schema, as a text that holds such a list.
    let text = [&[0x28, 0x07][..], &[0x16, 0xf1, 0xff, 0xff, 0xff, 0xff, 0x07], &[0]].concat();
    for footer in [many, text] {
        let length = (footer.len() as u32).to_le_bytes();
        let (_directory, path) = file("a.parquet", &[b"PAR1", &footer[..], &length, b"PAR1"].concat());
        let error = read_problems(&path, &fields("problem", "answer")).unwrap_err().to_string();
        let expected = format!("its footer of {} bytes has other fields than Parquet's, or ends early", footer.len());
        assert!(error.contains(&expected), "{error}");
    }
}

#[test]
fn a_parquet_schema_that_claims_what_is_not_there_or_goes_too_deep_is_refused() {
    // Elements as optional ones with the name `a`, after their number of children as a zigzag varint.
    let schema = |children: &[&[u8]]| {
        let element = |children: &&[u8]| [&[0x35, 0x02, 0x18, 0x01, b'a', 0x15], *children, &[0]].concat();
        let elements: Vec<u8> = children.iter().flat_map(element).collect();
        [&[0x29, 0xfc, children.len() as u8][..], &elements, &[0]].concat()
    };
    // Room for 2^31 - 1 columns, and 65 groups one in the other.
    let deep = [vec![[0x02].as_slice(); 65], vec![&[0x00]]].concat();
    for footer in [schema(&[&[0xfe, 0xff, 0xff, 0xff, 0x0f], &[0x00]]), schema(&deep)] {
        let length = (footer.len() as u32).to_le_bytes();
        let (_directory, path) = file("a.parquet", &[b"PAR1", &footer[..], &length, b"PAR1"].concat());
        let error = read_problems(&path, &fields("problem", "answer")).unwrap_err().to_string();
        let expected = format!("the schema in its footer of {} bytes is no tree of columns, or too deep", footer.len());
        assert!(error.contains(&expected), "{error}");
    }
}

#[test]
fn demonstrations_are_read_and_checked_like_problems() {
    let (_directory, path) = file("a.jsonl", br#"{"prompt": "p", "completion": "c"}"#);
    let demonstrations = read_demonstrations(&path, &DemonstrationFields::default()).unwrap();
    assert_eq!(demonstrations, [Demonstration { prompt: "p".to_owned(), completion: "c".to_owned() }]);

    let fields: DemonstrationFields = toml::from_str("completion = 'response'").unwrap();
    let error = read_demonstrations(&path, &fields).unwrap_err().to_string();
    let expected = "row 1: field `response` is missing (fields found: `completion`, `prompt`); set `completion` in";
    assert!(error.contains(expected), "{error}");
}
