//! How far the runs of a sweep have come, and that no records are removed unasked.

#![expect(clippy::unwrap_used, reason = "a test whose run cannot be read fails")]

mod support;

use std::fs;

use model::ModelPlace;
use record::{RunDirectory, write};
use rl::sweep::{Standing, SweepRun};

use support::world::{World, finish, provenance, skip_step};

/// The run of a sweep of one, with `changes`.
fn sweep_run(world: &World, changes: &[&str]) -> (SweepRun, ModelPlace) {
    (SweepRun::new(world.config(changes), &world.path("out")), world.model().into())
}

fn finished(world: &World, changes: &[&str]) -> SweepRun {
    let (run, model) = sweep_run(world, changes);
    finish(&mut run.trainer(&model, &provenance()).unwrap());
    run
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
