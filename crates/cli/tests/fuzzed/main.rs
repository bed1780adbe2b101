//! The short form of fuzzing the readers: the kept corpus and seeded mutations of it, through the entry points of the fuzz
//! targets. The long form is `cargo xtask fuzz`; the verifier's own targets are replayed in its tests.
//!
//! Time is bounded by allocations, which need no clock: a reader that works much allocates much.

mod corpus;
mod kept;
mod readers;
mod seeds;

use allocation_counter::measure;
use rl::random::{Purpose, Stream};

use corpus::{corpus, keep};
use readers::{Reading, TARGETS, Target};

/// Mutated inputs of each target; 50 times as many under `BREVITY_RELIABILITY=long`.
const MUTATIONS: usize = 400;
/// Most allocations of a run of an entry point.
const ALLOCATIONS_MAX: u64 = 3_000_000;
/// Pieces that get past the first check of one format or another.
const PIECES: [&[u8]; 34] = [
    b"\0",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"\0\0\0\0\0\0\0\x80",
    b"\x01\0\0\0\0\0\0\0",
    b"-1",
    b"0",
    b"1e999",
    b"1e-400",
    b"18446744073709551615",
    b"9007199254740993",
    b"99999999999999999999999",
    b"null",
    b"true",
    b"\"\"",
    b"\"../x\"",
    b"\"\\ud800\"",
    b"{}",
    b"[]",
    b"[[[[[[[[[[[[[[[[",
    b"{\"a\":{\"a\":{\"a\":",
    b"\n",
    b"\r\n",
    b"\"",
    b",",
    b"{{ 'a' * 100000 }}",
    b"{% for i in range(9999) %}",
    b"{% endfor %}",
    b"<script>alert(1)</script>",
    b"\x1b[31m",
    b"\xe2\x80\xae",
    b"\xc3",
    b"nan",
];

#[test]
fn the_kept_corpus_holds_and_some_of_it_is_read() {
    for target in TARGETS {
        let readings: Vec<Reading> = corpus(target.name).iter().map(|input| run_bounded(&target, input)).collect();
        assert!(
            readings.contains(&Reading::Read),
            "no input of {} is read any more; `BREVITY_FUZZ=seeds cargo test -p cli --test fuzzed seeds` adds what is \
             written today to the corpus",
            target.name
        );
    }
}

#[test]
fn mutated_inputs_hold() {
    let is_long = std::env::var("BREVITY_RELIABILITY").is_ok_and(|form| form == "long");
    let mutations = if is_long { 50 * MUTATIONS } else { MUTATIONS };
    for (index, target) in TARGETS.iter().enumerate() {
        let corpus = corpus(target.name);
        let mut stream = Stream::new(0, Purpose::Selection, [index as u64, 0, 0]);
        for _ in 0..mutations {
            let mut input = choose(&corpus, &mut stream).clone();
            for _ in 0..=stream.below(3) {
                input = mutated(&input, &corpus, &mut stream);
            }
            run_bounded(target, &input);
        }
    }
}

#[test]
fn seeds_are_read_by_their_targets_and_kept_when_asked_to() {
    let keeps = std::env::var("BREVITY_FUZZ").is_ok_and(|what| what == "seeds");
    for target in TARGETS {
        let seeds = seeds::seeds(target.name);
        assert_eq!(run_bounded(&target, &seeds[0]), Reading::Read, "{}: {:?}", target.name, seeds[0]);
        if keeps {
            keep(target.name, &seeds);
        }
    }
}

fn run_bounded(target: &Target, input: &[u8]) -> Reading {
    let mut reading = Reading::Refused;
    let work = measure(|| reading = target.run(input));
    let allocations = work.count_total;
    assert!(allocations <= ALLOCATIONS_MAX, "{} allocates {allocations} times: {input:?}", target.name);
    reading
}

fn mutated(input: &[u8], corpus: &[Vec<u8>], stream: &mut Stream) -> Vec<u8> {
    let (a, b) = (stream.below(input.len() + 1), stream.below(input.len() + 1));
    let (start, end) = (a.min(b), a.max(b));
    let (before, middle, after) = (&input[..start], &input[start..end], &input[end..]);
    let piece = *choose(&PIECES, stream);
    match stream.below(7) {
        0 => [before, after].concat(),
        1 => [before, piece, middle, after].concat(),
        2 => [before, piece, after].concat(),
        3 => [before, &piece.repeat(1 + stream.below(200)), middle, after].concat(),
        4 => [before, &middle.repeat(1 + stream.below(8)), after].concat(),
        5 => {
            let mut flipped = input.to_vec();
            if let Some(byte) = flipped.get_mut(start) {
                *byte ^= 1 << stream.below(8);
            }
            flipped
        }
        _ => {
            let other = choose(corpus, stream);
            [before, &other[stream.below(other.len() + 1)..]].concat()
        }
    }
}

fn choose<'a, T>(among: &'a [T], stream: &mut Stream) -> &'a T {
    &among[stream.below(among.len())]
}
