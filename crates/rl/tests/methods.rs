//! Whole runs of the methods beside GRPO-λ: what each must be seen to do in a step, and that it survives a resume.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use record::{RolloutRecord, ShaperMetrics};

use support::{
    assert_close,
    world::{World, assert_same_files, finish, interrupt_after},
};

#[test]
fn shapers_that_remember_go_on_from_a_checkpoint() {
    let world = World::new();
    let settings = [
        "train.steps=4",
        "train.shaping={weighted={objectives=[\
            {shaper={short-rl={cost_tolerance=2}}},\
            {shaper={acoer={warmup_steps=0,window_steps=2,budget_min=5}}},\
            {shaper={laser-d={target_min=5,target_interval=3,every_steps=2}}}]}}",
    ];
    let whole = world.run("whole", &settings);
    // α rises or falls after the second step; the targets are chosen anew after it.
    let shapers: Vec<Vec<ShaperMetrics>> = whole.metrics().unwrap().into_iter().map(|row| row.shapers).collect();
    let limit = world.config(&settings).rollout.completion_tokens_max as f64;
    let at_first = [ShaperMetrics::Acoer { alpha: 0.02, budget: limit }, ShaperMetrics::LaserD { targets: [limit; 3] }];
    assert_eq!((&shapers[0][..], &shapers[1][..]), (&at_first[..], &at_first[..]));
    assert!(shapers[2][0] != at_first[0], "{shapers:?}");
    for step in [1, 3] {
        let name = format!("interrupted-{step}");
        interrupt_after(&mut world.start(&name, &settings).unwrap(), step);
        finish(&mut world.resume(&name).unwrap());
        assert_same_files(&world.path("whole"), &world.path(&name), &[]);
    }
    interrupt_after(&mut world.start("changed", &settings).unwrap(), 1);
    let config = world.path("changed").join("config.toml");
    let other = world.config(&["train.steps=4", "train.shaping={kimi={}}"]).to_toml();
    record::write::replace(&config, other.as_bytes()).unwrap();
    let error = world.resume("changed").map(drop).unwrap_err().to_string();
    assert!(error.contains("(`config.toml`) is not what it was when the run began"), "{error}");
}

/// How many problems a step takes, only the run itself knows.
#[test]
fn dynamic_sampling_goes_on_from_a_checkpoint() {
    let world = World::new();
    let settings = ["train.dynamic_sampling={rounds_max=2}", "problems.order=shuffled", "train.shaping={grpo={}}"];
    let whole = world.run("whole", &settings);
    let replaced = |steps: u32| -> u32 {
        let first = whole.metrics().unwrap().into_iter().take(steps as usize);
        first.map(|row| row.dynamic_sampling.unwrap().replaced_groups).sum()
    };
    for step in [1, 2] {
        assert!(replaced(step) > 0, "the queue is ahead of six problems a step");
        let name = format!("interrupted-{step}");
        interrupt_after(&mut world.start(&name, &settings).unwrap(), u64::from(step));
        finish(&mut world.resume(&name).unwrap());
        assert_same_files(&world.path("whole"), &world.path(&name), &[]);
    }
}

/// The loop counts steps and keeps means; λ moves in every step of so short a run.
#[test]
fn an_adaptive_lambda_goes_on_from_a_checkpoint() {
    let world = World::new();
    let settings = ["train.steps=4", "train.shaping={adaptive-lambda={lambda=0.2,lambda_rise=0.2}}"];
    let whole = world.run("whole", &settings);
    let lambdas: Vec<f64> = whole.metrics().unwrap().iter().map(|row| lambda(&row.shapers)).collect();
    assert!(lambdas.windows(2).all(|pair| pair[0] < pair[1] || pair[1] < pair[0]), "{lambdas:?}");
    for step in [1, 3] {
        let name = format!("interrupted-{step}");
        interrupt_after(&mut world.start(&name, &settings).unwrap(), step);
        finish(&mut world.resume(&name).unwrap());
        assert_same_files(&world.path("whole"), &world.path(&name), &[]);
    }
}

fn lambda(shapers: &[ShaperMetrics]) -> f64 {
    let [ShaperMetrics::AdaptiveLambda { lambda, .. }] = shapers else { panic!("{shapers:?}") };
    *lambda
}

#[test]
fn dynamic_sampling_replaces_groups_without_a_signal_by_those_of_the_next_problems() {
    let world = World::new();
    let settings = ["train.steps=2", "train.shaping={grpo={}}", "problems.order=file"];
    let plain = world.run("plain", &settings);
    let replacing = world.run("replacing", &[settings.as_slice(), &["train.dynamic_sampling={rounds_max=3}"]].concat());
    let by_group = |rows: Vec<RolloutRecord>| {
        let mut groups: BTreeMap<u32, Vec<RolloutRecord>> = BTreeMap::new();
        for row in rows {
            groups.entry(row.group).or_default().push(row);
        }
        groups
    };
    let is_level = |group: &[RolloutRecord]| group.windows(2).all(|pair| pair[0].is_correct() == pair[1].is_correct());
    let (before, after) = (by_group(plain.rollouts(0).unwrap()), by_group(replacing.rollouts(0).unwrap()));
    let level = before.values().filter(|group| is_level(group)).count();
    assert!(level > 0, "the first step has groups without a signal");
    let mut problems = BTreeSet::new();
    for (group, rows) in &after {
        assert_eq!(rows.len(), 6);
        assert_eq!(rows == &before[group], !is_level(&before[group]), "only groups without a signal are replaced");
        assert!(problems.insert(rows[0].problem.clone()), "no problem twice");
    }
    let metrics = replacing.metrics().unwrap().remove(0);
    let counts = metrics.dynamic_sampling.unwrap();
    assert!((1..=3).contains(&counts.rounds) && counts.replaced_groups as usize >= level, "{counts:?}");
    assert_eq!(counts.level_groups as usize, after.values().filter(|group| is_level(group)).count());
    assert!(counts.replaced_tokens >= u64::from(counts.replaced_groups) * 6, "{counts:?}");
    assert_close(&[metrics.zero_advantage_share], &[f64::from(counts.level_groups) / 6.0], 1e-12, "level groups");
    // The second step goes on after the last problem that the first one took.
    let taken = 6 + counts.replaced_groups;
    let kept = by_group(replacing.rollouts(1).unwrap());
    let number = |id: &str| id.rsplit('-').next().unwrap().parse::<u32>().unwrap();
    assert!(kept.values().all(|rows| number(&rows[0].problem) >= taken), "40 problems are enough for two steps");
    assert_eq!(plain.metrics().unwrap()[0].dynamic_sampling, None);
}

#[test]
fn budgets_are_asked_for_and_reach_the_shaper() {
    let world = World::new();
    // The task's words are its squares, so a budget is written as one.
    let budget = "problems.budget={tokens_min=4,tokens_max=9,instruction='{budget}'}";
    let run = world.run("run", &["train.steps=1", budget, "train.shaping={l1-exact={alpha=0.01}}"]);
    let mut budgets = BTreeSet::new();
    for row in run.rollouts(0).unwrap() {
        let asked: u32 = row.question.rsplit('\n').next().unwrap().parse().unwrap();
        let distance = f64::from(asked.abs_diff(row.completion_tokens));
        assert_close(&[row.reward], &[f64::from(u8::from(row.is_correct())) - 0.01 * distance], 1e-12, &row.question);
        assert!((4..=9).contains(&asked));
        budgets.insert(asked);
    }
    assert!(budgets.len() > 1, "problems have budgets of their own: {budgets:?}");
}

/// The word `<q>` begins a quick plan; a completion with another plan gets the bonus.
#[test]
fn an_objective_acts_on_the_cost_that_it_names() {
    let world = World::new();
    let settings = [
        "train.steps=1",
        "train.costs={quick={occurrences={of='<q>'}}}",
        "train.shaping={weighted={objectives=[{cost='quick',weight=0.5,shaper={laser={target=0}}}]}}",
    ];
    let rollouts = world.run("run", &settings).rollouts(0).unwrap();
    for row in &rollouts {
        let bonus = if row.completion.contains("<q>") { 0.0 } else { 0.25 };
        let expected = if row.is_correct() { 1.0 + bonus } else { 0.0 };
        assert_close(&[row.reward], &[expected], 1e-12, &row.completion);
    }
    let quick = rollouts.iter().filter(|row| row.is_correct() && row.completion.contains("<q>")).count();
    let correct = rollouts.iter().filter(|row| row.is_correct()).count();
    assert!((1..correct).contains(&quick), "both kinds occur: {quick} of {correct}");
}

#[test]
fn every_surrogate_trains() {
    let world = World::new();
    for surrogate in ["grpo", "gspo", "cispo"] {
        let setting = format!("train.loss.surrogate={surrogate}");
        let run = world.run(surrogate, &["train.steps=1", "train.passes=2", &setting]);
        for row in run.metrics().unwrap() {
            assert!(row.gradient_norm > 0.0 && row.ratio_min < row.ratio_max, "{surrogate}: {row:?}");
        }
    }
}
