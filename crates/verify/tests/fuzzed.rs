//! The short form of fuzzing: the kept corpus and seeded mutations of it, through the entry points of the fuzz targets.
//! The long form is `cargo xtask fuzz`.
//!
//! Work is counted in allocations, which need no clock: a check that computes much allocates much.

use std::{fs, path::Path};

use allocation_counter::measure;

use entry::Target;
use stream::Stream;

#[path = "support/entry.rs"]
mod entry;
#[path = "support/stream.rs"]
mod stream;

const TARGETS: [&str; 4] = ["extraction", "gold", "check", "comparison"];
/// Mutated inputs of each target.
const MUTATIONS: usize = 1_500;
/// Most allocations of one run of an entry point, which makes up to a dozen checks.
const ALLOCATIONS_MAX: u64 = 400_000;
/// Most bytes that one run of an entry point holds at a time.
const HELD_BYTES_MAX: u64 = 16 << 20;
/// Pieces that get past the first character of the grammar.
const PIECES: &[&str] = &[
    "\\boxed{",
    "}",
    "\\frac",
    "\\sqrt",
    "^",
    "_",
    "{",
    "(",
    ")",
    "[",
    "]",
    "\\left",
    "\\right",
    "\\{",
    "\\}",
    ",",
    "$",
    "\\text{",
    "\\pm",
    "\\cup",
    "\\infty",
    "\\pi",
    "\\begin{pmatrix}",
    "\\end{pmatrix}",
    "\\\\",
    "&",
    "=",
    "<",
    "\\le",
    "%",
    "9",
    "99999999999999999999",
    "0",
    ".",
    "!",
    "\\log",
    "\\sin",
    "x",
    "y",
    "e",
    "i",
    "-",
    "+",
    "/",
    "\\cdot",
    "|",
    " or ",
    " and ",
    "not ",
    "####",
    "</think>",
    "\n",
    "10^",
    "9^9^9^9",
    "((((",
    "é",
    "\u{200B}",
    "\u{2212}",
    "A",
    "B",
];

#[test]
fn the_kept_corpus_holds() {
    for target in TARGETS {
        let corpus = corpus(target);
        assert!(corpus.len() >= 30, "{target} has {} inputs", corpus.len());
        for input in corpus {
            run_bounded(target, &input);
        }
    }
}

#[test]
fn mutated_inputs_hold() {
    for target in TARGETS {
        let corpus = corpus(target);
        let mut stream = Stream::seeded(target);
        for _ in 0..MUTATIONS {
            let mut input = choose(&corpus, &mut stream).clone();
            for _ in 0..=stream.below(3) {
                input = mutated(&input, &corpus, &mut stream);
            }
            run_bounded(target, &input);
        }
    }
}

fn corpus(target: &str) -> Vec<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let text = fs::read_to_string(directory.join(format!("{target}.jsonl"))).expect("the corpus is kept");
    text.lines().map(|line| serde_json::from_str(line).expect("a line is a JSON string")).collect()
}

fn run_bounded(target: &str, input: &str) {
    let work = measure(|| Target::named(target).run(input.as_bytes()));
    assert!(work.count_total <= ALLOCATIONS_MAX, "{target} allocates {} times: {input:?}", work.count_total);
    assert!(work.bytes_max <= HELD_BYTES_MAX, "{target} holds {} bytes: {input:?}", work.bytes_max);
}

fn mutated(input: &str, corpus: &[String], stream: &mut Stream) -> String {
    let cut = |text: &str, stream: &mut Stream| {
        let boundaries: Vec<usize> = (0..=text.len()).filter(|at| text.is_char_boundary(*at)).collect();
        *choose(&boundaries, stream)
    };
    let (a, b) = (cut(input, stream), cut(input, stream));
    let (start, end) = (a.min(b), a.max(b));
    let (before, middle, after) = (&input[..start], &input[start..end], &input[end..]);
    let piece = *choose(PIECES, stream);
    match stream.below(6) {
        0 => format!("{before}{after}"),
        1 => format!("{before}{piece}{middle}{after}"),
        2 => format!("{before}{piece}{after}"),
        3 => format!("{before}{}{after}", piece.repeat(1 + stream.below(200))),
        4 => format!("{before}{}{after}", middle.repeat(1 + stream.below(20))),
        _ => {
            let other = choose(corpus, stream);
            let from = cut(other, stream);
            format!("{before}{}", &other[from..])
        }
    }
}

fn choose<'a, T>(among: &'a [T], stream: &mut Stream) -> &'a T {
    &among[stream.below(among.len())]
}
