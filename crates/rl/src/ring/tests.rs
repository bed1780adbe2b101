//! The ring task against hand-worked walks and exact probabilities.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const PLANS: [Plan; 4] = [Plan::Quick, Plan::Careful, Plan::Verify, Plan::VerifyTwice];

/// The walk of a prompt's text.
fn walk_of(question: &str) -> Walk {
    let mut words = question.split(' ');
    let start = words.next().unwrap().parse().unwrap();
    let rolls = words.filter_map(|word| word.strip_prefix('+')).map(|roll| roll.parse().unwrap());
    Walk::new(start, rolls.collect())
}

fn final_answer(completion: &str) -> u8 {
    completion.rsplit_once(" A ").unwrap().1.parse().unwrap()
}

#[test]
fn walks_end_where_a_hand_calculation_ends() {
    for (start, rolls, truth, door_matters) in [
        (9, vec![1, 2, 2, 2], 4, false),             // 10, 0, 2, 4
        (3, vec![2, 1], 11, true),                   // 5→10, 11
        (11, vec![5, 1], 10, true),                  // 4, 5→10: the door counts after the last roll
        (5, vec![1, 1], 7, false),                   // 6, 7: starting on the door is not landing on it
        (0, vec![5, 6, 1, 6, 2, 2], 8, true),        // 5→10, 4, 5→10, 4, 6, 8
        (11, vec![6, 6, 6, 6, 6, 6, 6, 6], 4, true), // 5→10, 4, 10, 4, 10, 4, 10, 4
        (2, vec![3, 1, 2, 4, 3, 2, 1, 1], 10, true), // 5→10, 11, 1, 5→10, 1, 3, 4, 5→10
    ] {
        let walk = Walk::new(start, rolls);
        assert_eq!((walk.truth(), walk.door_matters()), (truth, door_matters), "{walk:?}");
    }
}

#[test]
fn prompts_and_completions_have_the_text_of_the_task() {
    let walk = Walk::new(9, vec![1, 2, 2, 2]);
    assert_eq!(walk.question(), "9 +1 +2 +2 +2 . . . . :");
    let through_the_door = Walk::new(3, vec![2, 1]);
    assert_eq!(through_the_door.question(), "3 +2 +1 . . . . . . :");
    for (walk, plan, expected) in [
        (&walk, Plan::Quick, "<q> a 10 b 0 c 2 d 4 A 4"),
        (&walk, Plan::Careful, "<c> a 10 10 b 0 0 c 2 2 d 4 4 A 4"),
        (&walk, Plan::Verify, "<v> a 10 10 b 0 0 c 2 2 d 4 4 W a 10 10 b 0 0 c 2 2 d 4 4 A 4"),
        (&through_the_door, Plan::Quick, "<q> a 5 b 6 A 6"),
        (&through_the_door, Plan::Careful, "<c> a 5 10 b 11 11 A 11"),
        (&through_the_door, Plan::Verify, "<v> a 5 10 b 11 11 W a 5 10 b 11 11 A 11"),
        (&through_the_door, Plan::VerifyTwice, "<w> a 5 10 b 11 11 W a 5 10 b 11 11 W a 5 10 b 11 11 A 11"),
    ] {
        assert_eq!(walk.completion(plan), expected);
    }
}

#[test]
fn completions_have_the_stated_number_of_tokens() {
    for (plan, expected) in [
        (Plan::Quick, [8, 12, 16, 20]),
        (Plan::Careful, [10, 16, 22, 28]),
        (Plan::Verify, [17, 29, 41, 53]),
        (Plan::VerifyTwice, [24, 42, 60, 78]),
    ] {
        for (rolls, tokens) in LEVELS.into_iter().zip(expected) {
            let walk = Walk::new(0, vec![1; rolls]);
            assert_eq!(walk.completion(plan).split(' ').count() + 1, tokens, "{plan:?} over {rolls} rolls");
            assert_eq!(plan.completion_tokens(rolls), tokens);
            assert!(tokens <= COMPLETION_TOKENS_MAX);
            assert_eq!(walk.question().split(' ').count(), PROMPT_TOKENS);
        }
    }
}

#[test]
fn careful_plans_are_right_and_the_quick_plan_wherever_the_walk_never_lands_on_the_door() {
    for problem in problems(4000, 1) {
        let walk = walk_of(&problem.question);
        let landed = walk.completion(Plan::Careful).contains(" 5 10");
        assert_eq!(walk.door_matters(), landed, "{walk:?}");
        for plan in PLANS {
            let is_right = final_answer(&walk.completion(plan)).to_string() == problem.gold;
            assert_eq!(is_right, plan != Plan::Quick || !landed, "{plan:?} {walk:?}");
        }
    }
}

#[test]
fn the_door_matters_as_often_as_the_markov_chain_says() {
    // Exact for all walks, by powers of the chain's matrix with square 5 absorbing: 1/6, 827/2592, 10283/23328,
    // 1818857/3359232. With 20,000 walks a level the standard error is at most 0.0035; the training split's own share
    // differs most at level 2, where it has only 384 walks (62 at the door, 0.1615).
    let exact = [("2", 0.1667), ("4", 0.3191), ("6", 0.4408), ("8", 0.5415)];
    let mut counts: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for problem in problems(80_000, 2) {
        let (matters, all) = counts.entry(problem.level.unwrap()).or_default();
        *matters += f64::from(u8::from(walk_of(&problem.question).door_matters()));
        *all += 1.0;
    }
    for (level, share) in exact {
        let (matters, all) = counts[level];
        assert!((matters / all - share).abs() < 0.012, "level {level}: {} is not {share}", matters / all);
    }
}

#[test]
fn every_block_of_four_holds_each_level_once_in_varying_order() {
    let problems = problems(4000, 3);
    let mut orders = BTreeSet::new();
    for block in problems.chunks(4) {
        let order: Vec<_> = block.iter().map(|problem| problem.level.clone().unwrap()).collect();
        assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), 4, "{order:?}");
        orders.insert(order);
    }
    assert_eq!(orders.len(), 24);
}

#[test]
fn the_same_seed_draws_the_same_and_a_shorter_set_begins_a_longer_one() {
    assert_eq!(problems(10, 4), problems(100, 4)[..10]);
    assert_eq!(demonstrations(10, 4), demonstrations(100, 4)[..10]);
    assert_ne!(problems(10, 4), problems(10, 5));
    let questions = |problems: Vec<Problem>| problems.into_iter().map(|problem| problem.question).collect::<Vec<_>>();
    let prompts: Vec<_> = demonstrations(10, 4).into_iter().map(|demonstration| demonstration.prompt).collect();
    assert_ne!(questions(problems(10, 4)), prompts);
}

#[test]
fn problem_ids_are_unique() {
    let ids: BTreeSet<_> =
        problems(500, 6).into_iter().chain(held_out_problems(500, 6)).map(|problem| problem.id).collect();
    assert_eq!(ids.len(), 1000);
}

#[test]
fn nothing_held_out_is_trained_on_or_demonstrated() {
    let trained = problems(20_000, 7).into_iter().map(|problem| problem.question);
    let demonstrated = demonstrations(20_000, 7).into_iter().map(|demonstration| demonstration.prompt);
    let seen: BTreeSet<_> = trained.chain(demonstrated).collect();
    for problem in held_out_problems(20_000, 7) {
        assert!(!seen.contains(&problem.question), "{}", problem.question);
    }
}

#[test]
fn the_walks_of_a_level_are_split_eight_ways_and_their_door_shares_are_exact() {
    // Door: 1/6 and 827/2592 of all walks, as above. Held out: binomial, 54 and 1944 expected, deviations 6.9 and 41.
    for (level, all, at_the_door, held_out) in [(2, 432, 72, 40..=68), (4, 15_552, 4962, 1862..=2026)] {
        let rolls = (0..level).fold(vec![vec![]], |walks: Vec<Vec<u8>>, _| {
            walks.iter().flat_map(|rolls| (1..=ROLL_MAX).map(|roll| [rolls.as_slice(), &[roll]].concat())).collect()
        });
        let walks: Vec<_> =
            (0..SQUARES).flat_map(|start| rolls.iter().map(move |rolls| Walk::new(start, rolls.clone()))).collect();
        assert_eq!((walks.len(), walks.iter().filter(|walk| walk.door_matters()).count()), (all, at_the_door));
        let count = walks.iter().filter(|walk| walk.split() == Split::HeldOut).count();
        assert!(held_out.contains(&count), "{count} of {all} walks of level {level}");
    }
}

#[test]
fn demonstrations_mix_the_plans_as_stated() {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for demonstration in demonstrations(20_000, 8) {
        let plan = demonstration.completion.split(' ').next().unwrap().to_owned();
        *counts.entry(plan).or_default() += 1;
    }
    // The standard deviation of a count is at most 70.
    for (plan, expected) in [("<q>", 9000_usize), ("<c>", 5000), ("<v>", 4000), ("<w>", 2000)] {
        assert!(counts[plan].abs_diff(expected) < 280, "{plan}: {} of 20000", counts[plan]);
    }
    assert_eq!(counts.len(), 4);
}
