//! How far the runs of a sweep have come, and that no records are removed unasked.

#![expect(clippy::unwrap_used, reason = "a test whose run cannot be read fails")]

mod support;

use std::{fs, path::Path};

use model::{Compute, ModelPlace};
use record::{FaultOutcome, RunDirectory, write};
use rl::{
    config::ComputeType,
    sweep::{Standing, Sweep, SweepRun},
    warning::RISK_QUANTITY,
};

use support::world::{World, append_fault, files_under, finish, interrupt_after, provenance, skip_step};

/// The run of a sweep of one, with `changes`.
fn sweep_run(world: &World, changes: &[&str]) -> (SweepRun, ModelPlace) {
    (SweepRun::new(world.config(changes), &world.path("out")), world.model().into())
}

fn finished(world: &World, changes: &[&str]) -> SweepRun {
    let (run, model) = sweep_run(world, changes);
    finish(&mut run.trainer(&model, &provenance()).unwrap());
    run
}

fn empty(checkpoints: &Path) {
    fs::remove_dir_all(checkpoints).unwrap();
    write::create_directory(checkpoints).unwrap();
}

/// Drops the metrics of the last step.
fn drop_step(run: &SweepRun) {
    let path = run.root.join("metrics.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let kept = text.trim_end().rfind('\n').map_or(0, |end| end + 1);
    write::replace(&path, &text.as_bytes()[..kept]).unwrap();
}

#[test]
fn a_run_whose_last_step_was_skipped_is_finished_and_its_records_stay() {
    let world = World::untrained();
    let run = finished(&world, &[]);
    drop_step(&run);
    skip_step(&RunDirectory::open(&run.root).unwrap(), 2);
    assert_eq!(run.standing().unwrap(), Standing::Finished);
    for part in ["checkpoints", "model"] {
        fs::remove_dir_all(run.root.join(part)).unwrap();
        assert_eq!(run.standing().unwrap(), Standing::Finished, "without {part}");
    }
}

#[test]
fn records_that_nothing_can_go_on_from_are_never_removed_unasked() {
    let world = World::untrained();
    let run = finished(&world, &["checkpoint={every_steps=1,keep_last=1}"]);
    let checkpoints = run.root.join("checkpoints");
    let refused = |said: &str| {
        let before = files_under(&run.root);
        let expected = format!("{}: has records of {said} the run again", run.root.display());
        assert_eq!(run.standing().unwrap_err().to_string(), expected);
        assert!(run.trainer(&world.model().into(), &provenance()).is_err());
        assert!(files_under(&run.root) == before, "something was removed");
    };
    fs::remove_dir_all(run.root.join("model")).unwrap();
    empty(&checkpoints);
    refused(
        "3 of 3 steps and no checkpoint to go on from; remove `checkpoints` to keep the records alone, or the directory \
         to begin",
    );
    drop_step(&run);
    refused("2 of 3 steps and no checkpoint to go on from; put its checkpoints back, or remove the directory to begin");
    fs::remove_dir_all(&checkpoints).unwrap();
    refused("2 of 3 steps and no checkpoint to go on from; put `checkpoints` back, or remove the directory to begin");
    drop_step(&run);
    refused("1 of 3 steps and no checkpoint to go on from; put `checkpoints` back, or remove the directory to begin");
    drop_step(&run);
    assert_eq!(run.standing().unwrap(), Standing::Unfinished { step: 0 }, "a start that was cut short");
}

#[test]
fn a_run_that_was_cut_short_before_its_first_checkpoint_begins_again() {
    let world = World::untrained();
    let (run, model) = sweep_run(&world, &[]);
    let mut trainer = run.trainer(&model, &provenance()).unwrap();
    interrupt_after(&mut trainer, 2);
    empty(&run.root.join("checkpoints"));
    assert_eq!(run.standing().unwrap(), Standing::Unfinished { step: 0 });
    let message = run.trainer(&model, &provenance()).map(drop).unwrap_err().to_string();
    assert!(message.contains(" writes to it; wait until it has ended"), "{message}");
    drop(trainer);
    finish(&mut run.trainer(&model, &provenance()).unwrap());
    // Killed while it wrote its only checkpoint.
    empty(&run.root.join("checkpoints"));
    fs::remove_dir_all(run.root.join("model")).unwrap();
    write::replace(&run.root.join("lock"), b"program 1 on this machine\n").unwrap();
    assert_eq!(run.standing().unwrap(), Standing::Unfinished { step: 0 });
}

#[test]
fn a_return_to_the_start_that_was_cut_short_begins_again() {
    let world = World::untrained();
    let run = finished(&world, &["train.steps=4", "checkpoint={every_steps=1,keep_last=1}"]);
    fs::remove_dir_all(run.root.join("model")).unwrap();
    empty(&run.root.join("checkpoints"));
    let directory = RunDirectory::open(&run.root).unwrap();
    // A step with a fault has no metrics; one that a warning comes after has.
    for (step, quantity) in [(3, "loss"), (1, RISK_QUANTITY)] {
        append_fault(&directory, (step, quantity), FaultOutcome::Returned);
        assert!(run.standing().is_err(), "steps were done after the return");
        drop_step(&run);
        assert_eq!(run.standing().unwrap(), Standing::Unfinished { step: 0 }, "{quantity}");
        append_fault(&directory, (step, quantity), FaultOutcome::Stopped);
        assert!(run.standing().is_err(), "nothing went back");
    }
}

#[test]
fn a_run_that_leaves_an_adapter_alone_is_finished() {
    let world = World::untrained();
    let run = finished(&world, &["train.steps=1", "model.lora={rank=4}"]);
    assert_eq!(run.standing().unwrap(), Standing::Finished);
    empty(&run.root.join("checkpoints"));
    assert_eq!(run.standing().unwrap(), Standing::Finished);
    fs::remove_dir_all(run.root.join("model")).unwrap();
    assert!(run.standing().is_err());
}

#[test]
fn what_products_compute_with_is_the_cards_where_a_sweep_runs_on_one() {
    let world = World::untrained();
    let text = world.config_text().replace("compute = \"f32\"\n", "");
    let sweep = format!("base = '{}'\nseeds = [1]\n[[arms]]\nname = \"a\"\n", world.path("base.toml").display());
    write::replace(&world.path("base.toml"), text.as_bytes()).unwrap();
    write::replace(&world.path("sweep.toml"), sweep.as_bytes()).unwrap();
    let sweep = Sweep::read(&world.path("sweep.toml")).unwrap();
    let compute = |change: &str| sweep.runs(&world.path("out"), &[change.to_owned()]).unwrap()[0].config.compute;
    assert_eq!(compute("device=\"cuda:0\""), Some(ComputeType::Bf16));
    assert_eq!(compute("device=\"cpu\""), Some(Compute::fastest().into()));
}
