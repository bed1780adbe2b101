//! What holds for every family: splits, blocks, plans, tokens, verdicts, and the stated shares.

use std::collections::{BTreeMap, BTreeSet};

use model::Tokenizer;
use record::write;
use verify::{Extraction, Gold, Verdict, check};

use super::*;

/// `count` exercises of each level, uniform over all of the level.
fn exercises(family: &Family, count: usize, seed: u64) -> Vec<(usize, Box<dyn Exercise>)> {
    let mut draws = Draws::new(seed, Stream::Training);
    let of = |level| (0..count).map(move |_| level);
    family.levels.into_iter().flat_map(of).map(|level| (level, (family.draw)(&mut draws, level))).collect()
}

fn questions(problems: Vec<Problem>) -> Vec<String> {
    problems.into_iter().map(|problem| problem.question).collect()
}

#[test]
fn every_family_has_a_name_of_its_own() {
    let names: BTreeSet<_> = FAMILIES.iter().map(|family| family.name).collect();
    assert_eq!(names.len(), FAMILIES.len());
    assert!(FAMILIES.iter().all(|family| Family::named(family.name).is_some_and(|named| std::ptr::eq(named, *family))));
    assert!(Family::named("rings").is_none());
}

#[test]
fn every_block_of_four_holds_each_level_once_in_varying_order() {
    for family in FAMILIES {
        let problems = family.problems(1000, 3);
        let mut orders = BTreeSet::new();
        for block in problems.chunks(4) {
            let order: Vec<_> = block.iter().map(|problem| problem.level.clone().unwrap()).collect();
            assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), 4, "{order:?}");
            orders.insert(order);
        }
        assert_eq!(orders.len(), 24, "{family:?}");
    }
}

#[test]
fn the_same_seed_draws_the_same_and_a_shorter_set_begins_a_longer_one() {
    for family in FAMILIES {
        assert_eq!(family.problems(10, 4), family.problems(100, 4)[..10]);
        assert_eq!(family.demonstrations(10, 4), family.demonstrations(100, 4)[..10]);
        assert_ne!(family.problems(10, 4), family.problems(10, 5));
        let prompts: Vec<_> = family.demonstrations(10, 4).into_iter().map(|one| one.prompt).collect();
        assert_ne!(questions(family.problems(10, 4)), prompts);
    }
}

#[test]
fn problem_ids_are_unique() {
    for family in FAMILIES {
        let all = family.problems(500, 6).into_iter().chain(family.held_out_problems(500, 6));
        assert_eq!(all.map(|problem| problem.id).collect::<BTreeSet<_>>().len(), 1000, "{family:?}");
    }
}

#[test]
fn nothing_held_out_is_trained_on_or_demonstrated_and_about_an_eighth_is_held_out() {
    for family in FAMILIES {
        let trained = questions(family.problems(5000, 7));
        let demonstrated = family.demonstrations(5000, 7).into_iter().map(|demonstration| demonstration.prompt);
        let seen: BTreeSet<_> = trained.into_iter().chain(demonstrated).collect();
        for question in questions(family.held_out_problems(2000, 7)) {
            assert!(!seen.contains(&question), "{family:?}: {question}");
        }
        // A problem and its number belong together, so that the hash splits problems.
        let numbers: BTreeMap<String, u64> =
            exercises(family, 2000, 7).iter().map(|(_, one)| (one.question(), one.number())).collect();
        assert_eq!(numbers.values().collect::<BTreeSet<_>>().len(), numbers.len(), "{family:?}");
        // The standard deviation of the share is at most 0.007 (more than 2,000 different problems).
        let held_out = numbers.values().filter(|number| split_of(**number) == Split::HeldOut).count();
        let share = held_out as f64 / numbers.len() as f64;
        assert!((share - 0.125).abs() < 0.03, "{family:?}: {share}");
    }
}

#[test]
fn careful_plans_are_verified_as_correct_and_the_quick_plan_exactly_where_its_answer_is_gold() {
    let extraction = Extraction::Marker { marker: "A".into() };
    for family in FAMILIES {
        for (_, exercise) in exercises(family, 300, 8) {
            let gold = Gold::parse(&exercise.gold()).unwrap();
            for plan in Plan::ALL {
                let completion = plan.completion(&*exercise);
                let is_correct = check(&completion, &gold, &extraction).verdict == Verdict::Correct;
                let is_gold = exercise.quick().1 == exercise.gold();
                assert_eq!(is_correct, plan != Plan::Quick || is_gold, "{family:?}: {completion}");
            }
        }
    }
}

#[test]
fn the_quick_plan_is_wrong_as_often_as_stated() {
    for family in FAMILIES {
        let mut wrong = [0; 4];
        for (level, exercise) in exercises(family, 5000, 9) {
            let place = family.levels.iter().position(|known| *known == level).unwrap();
            wrong[place] += usize::from(exercise.quick().1 != exercise.gold());
        }
        // The standard error of a share is at most 0.0071.
        for (wrong, stated) in wrong.into_iter().zip(family.quick_wrong_shares) {
            assert!((wrong as f64 / 5000.0 - stated).abs() < 0.028, "{family:?}: {wrong} of 5000 is not {stated}");
        }
    }
}

#[test]
fn demonstrations_mix_the_plans_as_stated() {
    for family in FAMILIES {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for demonstration in family.demonstrations(8000, 8) {
            let plan = demonstration.completion.split(' ').next().unwrap().to_owned();
            *counts.entry(plan).or_default() += 1;
        }
        let sum: u32 = family.plan_weights.iter().sum();
        for (plan, weight) in Plan::ALL.into_iter().zip(family.plan_weights) {
            let (count, expected) = (counts.get(plan.word()).copied().unwrap_or(0), 8000 * weight / sum);
            // The standard deviation of a count is at most 45.
            assert!(count.abs_diff(expected as usize) < 180, "{family:?}, {plan:?}: {count}, not {expected}");
        }
    }
}

#[test]
fn the_tokenizer_covers_every_text_and_the_stated_sizes_hold() {
    for family in FAMILIES {
        let directory = tempfile::tempdir().unwrap();
        write::replace(&directory.path().join("tokenizer.json"), family.tokenizer_json().as_bytes()).unwrap();
        let tokenizer = Tokenizer::open(directory.path()).unwrap();
        assert_eq!(family.vocabulary().iter().collect::<BTreeSet<_>>().len(), family.vocabulary().len());
        let (mut used, mut longest) = (BTreeSet::new(), 0);
        for (_, exercise) in exercises(family, 300, 10) {
            let prompt = tokenizer.encode(&exercise.question()).unwrap();
            assert_eq!(prompt.len(), family.prompt_tokens, "{}", exercise.question());
            used.extend(prompt);
            for plan in Plan::ALL {
                let text = plan.completion(&*exercise);
                let completion = tokenizer.encode(&text).unwrap();
                assert_eq!(completion.len(), text.split(' ').count(), "{text}");
                assert_eq!(tokenizer.decode(&completion), text);
                longest = longest.max(completion.len() + 1);
                used.extend(completion);
            }
        }
        assert!(longest <= family.completion_tokens_max, "{family:?}: {longest}");
        used.extend([family.end_token_id(), family.padding_token_id()]);
        assert_eq!(used.len(), family.vocabulary().len(), "{family:?}: every word is used");
    }
}

#[test]
fn the_entropy_of_a_demonstration_is_that_of_its_plan() {
    // Ring: H(0.45, 0.25, 0.20, 0.10) = 1.25805 nats; 10 tokens are the mean of 8 and 12.
    let demonstration = |completion: &str| Demonstration { prompt: String::new(), completion: completion.to_owned() };
    let two = [demonstration("<q> a 1 b 2 A 2"), demonstration("<q> a 1 b 2 c 3 d 4 A 4")];
    assert!((RING.demonstration_entropy_nats(&two) - 0.125_805).abs() < 1e-6);
}
