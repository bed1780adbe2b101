//! The demonstration's files: what it trains on exists, is apart from what it is measured on, and can be trained again.

use std::collections::BTreeSet;

use rl::{
    config::{RunConfig, parse_config},
    demo::{Demo, SEEDS, STEPS, arms},
    read_problems,
};

#[test]
fn every_config_is_in_range_and_is_read_back_as_it_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let demo = Demo::prepare(directory.path()).unwrap();
    for (arm, shaping) in arms() {
        let config = demo.run_config(arm, shaping, SEEDS[0]);
        config.check().unwrap();
        assert_eq!(parse_config::<RunConfig>(&config.to_toml(), &[]).unwrap(), config, "{arm}");
    }
}

#[test]
fn each_step_has_problems_of_its_own_and_none_is_held_out() {
    let directory = tempfile::tempdir().unwrap();
    let demo = Demo::prepare(directory.path()).unwrap();
    for seed in SEEDS {
        let (arm, shaping) = arms()[0].clone();
        let config = demo.run_config(arm, shaping, seed);
        let training = read_problems(&config.problems.path, &config.problems.fields).unwrap();
        assert_eq!(training.len(), STEPS as usize * config.rollout.prompts_per_step);
        let evaluation = config.evaluation.unwrap();
        let held_out = read_problems(&evaluation.path, &evaluation.fields).unwrap();
        let trained: BTreeSet<&str> = training.iter().map(|problem| problem.question.as_str()).collect();
        assert!(held_out.iter().all(|problem| !trained.contains(problem.question.as_str())), "seed {seed}");
    }
}

#[test]
fn arms_of_one_seed_differ_in_name_and_shaping_alone() {
    let directory = tempfile::tempdir().unwrap();
    let demo = Demo::prepare(directory.path()).unwrap();
    let [first, rest @ ..] = arms().map(|(arm, shaping)| demo.run_config(arm, shaping, SEEDS[1]));
    for mut config in rest {
        assert_ne!(config.train.shaping, first.train.shaping);
        config.arm.clone_from(&first.arm);
        config.train.shaping = first.train.shaping.clone();
        assert_eq!(config, first);
    }
}
