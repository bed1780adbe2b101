//! Random streams: their definition against published key streams, their independence and their distributions.
//!
//! Seeds are fixed, so a bound of five standard errors, wide enough for any sound generator, never fails by chance.

use std::collections::{BTreeMap, BTreeSet};

use rl::random::{Purpose, Stream};

const PURPOSES: [Purpose; 6] = [
    Purpose::Rollout,
    Purpose::Evaluation,
    Purpose::ProblemOrder,
    Purpose::Selection,
    Purpose::DemonstrationOrder,
    Purpose::Parameters,
];

fn stream(seed: u64) -> Stream {
    Stream::new(seed, Purpose::Rollout, [0; 3])
}

fn first_bits(seed: u64, purpose: Purpose, place: [u64; 3]) -> u64 {
    Stream::new(seed, purpose, place).uniform().to_bits()
}

/// Mean and standard deviation.
fn moments(values: &[f64]) -> [f64; 2] {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    [mean, (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt()]
}

/// Seed, purpose and place are all zero, so the key is; the key stream of ChaCha with 8 rounds under that key starts
/// 3e00ef2f 895f40d6 7f5bb8e8 1f09a5a1 2c840ec3 ce9a7f3b 181be188 ef711a1e
/// (test vector TC1 of draft-strombergson-chacha-test-vectors-01), read here as four little-endian words.
#[test]
fn the_first_words_are_those_of_the_published_chacha8_key_stream() {
    let words = [0xd640_5f89_2fef_003e_u64, 0xa1a5_091f_e8b8_5b7f, 0x3b7f_9ace_c30e_842c, 0x1e1a_71ef_88e1_1b18];
    let mut uniforms = stream(0);
    let mut below_ten = stream(0);
    for word in words {
        let expected = (word >> 11) as f64 / (1_u64 << 53) as f64;
        assert_eq!(uniforms.uniform().to_bits(), expected.to_bits(), "{word:x}");
        let expected = (u128::from(word) * 10) >> 64;
        assert_eq!(below_ten.below(10) as u128, expected, "{word:x}");
    }
    // The same words by hand: Fisher and Yates over 0…4, Box and Muller over two pairs.
    assert_eq!(stream(0).permutation(5), [1, 3, 0, 2, 4]);
    let mut normals = stream(0);
    for expected in [-1.291_225_130_504_602, 0.537_678_588_389_246_1] {
        let normal = normals.normal();
        assert!((normal - expected).abs() < 1e-12, "{normal} instead of {expected}");
    }
}

/// Seed 17, place (3, 5, 7). The numbers come from a Python implementation of RFC 8439's block function with 8 rounds,
/// keyed as [`Stream::new`] documents. They are golden all the same: with one of them every recorded run changes,
/// so a commit that moves one moves the golden run too and says so.
#[test]
fn the_first_numbers_of_each_purpose_never_change() {
    let recorded = [
        (Purpose::Rollout, [0.926_976_816_508_314, 0.044_471_312_569_897_56]),
        (Purpose::Evaluation, [0.879_963_194_174_231_3, 0.498_078_430_212_394_95]),
        (Purpose::ProblemOrder, [0.945_168_013_050_028_6, 0.952_983_039_867_215_9]),
        (Purpose::Selection, [0.954_001_033_357_610_9, 0.838_540_511_959_885_5]),
        (Purpose::DemonstrationOrder, [0.949_507_460_826_021_4, 0.034_818_556_357_045_78]),
        (Purpose::Parameters, [0.326_245_159_032_955_7, 0.398_603_626_145_784_15]),
    ];
    for (purpose, expected) in recorded {
        let mut stream = Stream::new(17, purpose, [3, 5, 7]);
        let drawn = [stream.uniform(), stream.uniform()];
        assert_eq!(drawn.map(f64::to_bits), expected.map(f64::to_bits), "{purpose:?}: {drawn:?}");
    }
}

#[test]
fn the_same_key_gives_the_same_numbers() {
    for purpose in PURPOSES {
        let draw = || {
            let mut stream = Stream::new(9, purpose, [1, 2, 3]);
            (0..100).map(|_| stream.uniform().to_bits()).collect::<Vec<_>>()
        };
        assert_eq!(draw(), draw());
    }
}

#[test]
fn another_seed_purpose_or_place_gives_other_numbers() {
    let coordinates = [0, 1, 2, (1 << 56) - 1];
    let pairs = coordinates.iter().flat_map(|&a| coordinates.map(|b| [a, b]));
    let places: Vec<[u64; 3]> = pairs.flat_map(|[a, b]| coordinates.map(|c| [a, b, c])).collect();
    let mut firsts = BTreeSet::new();
    for seed in [0, 1, u64::MAX] {
        for purpose in PURPOSES {
            firsts.extend(places.iter().map(|&place| first_bits(seed, purpose, place)));
        }
    }
    assert_eq!(firsts.len(), 3 * 6 * 4 * 4 * 4);
}

#[test]
#[should_panic(expected = "coordinate 72057594037927936")]
fn a_first_coordinate_that_would_reach_into_the_purpose_is_refused() {
    Stream::new(0, Purpose::Rollout, [1 << 56, 0, 0]);
}

#[test]
fn uniform_numbers_fill_zero_to_one() {
    let mut stream = stream(1);
    let values: Vec<f64> = (0..40_000).map(|_| stream.uniform()).collect();
    assert!(values.iter().all(|value| (0.0..1.0).contains(value)));
    // Standard errors of mean and standard deviation: 0.2887/200 = 0.0014 and 0.00065.
    let [mean, deviation] = moments(&values);
    assert!((mean - 0.5).abs() < 0.0072, "{mean}");
    assert!((deviation - (1.0_f64 / 12.0).sqrt()).abs() < 0.0033, "{deviation}");
}

#[test]
fn below_draws_each_number_of_its_range_equally_often() {
    for bound in [1, 2, 3, 7, 10] {
        let mut stream = stream(2);
        let mut counts = vec![0_usize; bound];
        let draws = 20_000.0;
        for _ in 0..20_000 {
            counts[stream.below(bound)] += 1;
        }
        let share = 1.0 / bound as f64;
        let (expected, error) = (draws * share, (draws * share * (1.0 - share)).sqrt());
        for count in counts {
            assert!((count as f64 - expected).abs() <= 5.0 * error, "bound {bound}: {count} instead of {expected}");
        }
    }
}

#[test]
fn below_reaches_the_ends_of_a_large_range_and_stays_in_it() {
    let bound = usize::MAX;
    let mut stream = stream(3);
    let draws: Vec<usize> = (0..1_000).map(|_| stream.below(bound)).collect();
    assert!(draws.iter().all(|&draw| draw < bound));
    assert!(draws.iter().any(|&draw| draw < bound / 100) && draws.iter().any(|&draw| draw > bound / 100 * 99));
}

#[test]
#[should_panic(expected = "an empty range")]
fn below_refuses_an_empty_range() {
    stream(0).below(0);
}

#[test]
fn a_permutation_holds_each_number_once() {
    for count in [0, 1, 2, 3, 10, 257] {
        let mut permutation = stream(4).permutation(count);
        permutation.sort_unstable();
        assert_eq!(permutation, (0..count).collect::<Vec<_>>());
    }
}

#[test]
fn all_permutations_come_equally_often() {
    let mut stream = stream(5);
    let mut counts = BTreeMap::<Vec<usize>, usize>::new();
    for _ in 0..24_000 {
        *counts.entry(stream.permutation(4)).or_default() += 1;
    }
    assert_eq!(counts.len(), 24);
    // 1,000 each, standard error √(24,000 · 1/24 · 23/24) = 31.
    for (permutation, count) in counts {
        assert!(count.abs_diff(1_000) <= 155, "{permutation:?} came {count} times");
    }
}

#[test]
fn normal_numbers_have_mean_zero_and_variance_one() {
    let mut stream = stream(6);
    let values: Vec<f64> = (0..40_000).map(|_| stream.normal()).collect();
    assert!(values.iter().all(|value| value.is_finite()));
    // Standard errors: 1/200 of the mean, 1/283 of the standard deviation.
    let [mean, deviation] = moments(&values);
    assert!(mean.abs() < 0.025, "{mean}");
    assert!((deviation - 1.0).abs() < 0.018, "{deviation}");
    // Φ(−1) = 0.158655 and Φ(−2) = 0.022750, each on either side; standard errors 0.0018 and 0.00075.
    let share = |is_inside: &dyn Fn(f64) -> bool| values.iter().filter(|&&value| is_inside(value)).count() as f64 / 4e4;
    for (limit, tail, tolerance) in [(1.0, 0.158_655, 0.0092), (2.0, 0.022_750, 0.0038)] {
        for measured in [share(&|value| value < -limit), share(&|value| value > limit)] {
            assert!((measured - tail).abs() < tolerance, "beyond {limit}: {measured} instead of {tail}");
        }
    }
}
