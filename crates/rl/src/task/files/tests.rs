//! A task's files: what is there stays, what is half made does not, and the config trains from what was written.

use std::fs;

use tempfile::TempDir;

use super::*;
use crate::{config::parse_config, read_problems, task::RING};

/// A family whose starts take no time.
static SHORT: Family = Family { start_steps: 3, ..RING };

fn task() -> (TempDir, TaskFiles) {
    let directory = tempfile::tempdir().unwrap();
    let files = TaskFiles::new(&SHORT, directory.path().to_owned(), directory.path().join("start-seed"));
    files.write(&[1, 2], 2).unwrap();
    (directory, files)
}

#[test]
fn the_config_with_a_seed_put_in_is_in_range_and_names_files_that_are_there() {
    let (directory, files) = task();
    let path = directory.path().join("train.toml");
    files.write_train_config(&path, 7).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    for seed in ["1", "2"] {
        let config: RunConfig = parse_config(&text.replace("{seed}", seed), &[]).unwrap();
        config.check().unwrap();
        assert_eq!((config.train.steps, config.rollout.completion_tokens_max), (7, RING.completion_tokens_max));
        assert_eq!(config.model.path, format!("{}/start-seed{seed}/model", directory.path().display()));
        assert_eq!(read_problems(&config.problems.path, &config.problems.fields).unwrap().len(), 32);
        let evaluation = config.evaluation.unwrap();
        assert_eq!(read_problems(&evaluation.path, &evaluation.fields).unwrap().len(), 600);
    }
    // Its owner may change it.
    write::replace(&path, b"mine").unwrap();
    files.write_train_config(&path, 7).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"mine");
}

#[test]
fn files_of_the_same_task_stay_and_those_of_another_are_refused() {
    let (_directory, files) = task();
    files.write(&[2, 3], 2).unwrap();
    let message = files.write(&[1], 3).unwrap_err().to_string();
    assert!(message.contains("problems-seed1.jsonl: holds something else"), "{message}");
}

#[test]
fn a_start_that_is_there_is_kept_and_one_that_is_not_complete_is_made_anew() {
    let (_directory, files) = task();
    let log = files.start(1, |_| true).unwrap();
    assert_eq!(log.len(), 3);
    let weights = || fs::read(files.start_model(1).join("model.safetensors")).unwrap();
    let made = weights();
    assert_eq!(files.start(1, |_| panic!("nothing is left to do")).unwrap(), log);

    // As if the program had died in the third step.
    let path = files.start_root(1).join("sft.jsonl");
    let torn = fs::read(&path).unwrap();
    write::replace(&path, &torn[..torn.len() - 20]).unwrap();
    assert_eq!(files.start(1, |_| true).unwrap(), log);
    assert_eq!(weights(), made);
}

#[test]
fn a_start_that_is_stopped_leaves_nothing() {
    let (_directory, files) = task();
    assert_eq!(files.start(2, |metrics| metrics.step == 0).unwrap().len(), 2);
    assert!(!files.start_root(2).exists());
}
