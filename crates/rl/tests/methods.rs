//! Whole runs of the methods beside GRPO-λ: what each must be seen to do in a step, and that it survives a resume.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use record::RolloutRecord;

use support::{
    assert_close,
    world::{World, assert_same_files, finish, interrupt_after},
};

#[test]
fn dynamic_sampling_goes_on_from_a_checkpoint() {
    let world = World::new();
    let settings = [
        "train.steps=4",
        "train.dynamic_sampling={rounds_max=2}",
        "problems.order=shuffled",
        "train.shaping={grpo={}}",
    ];
    world.run("whole", &settings);
    for step in [1, 3] {
        let name = format!("interrupted-{step}");
        interrupt_after(&mut world.start(&name, &settings).unwrap(), step);
        finish(&mut world.resume(&name).unwrap());
        assert_same_files(&world.path("whole"), &world.path(&name), &[]);
    }
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
