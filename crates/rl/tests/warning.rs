//! What a run does about the risk of a collapse: each action of `[train.warning]`, and that a resumed run does the same.
//!
//! The weights of these runs hold any run for one that collapses: they warn as soon as there is a risk, after five steps.

#![expect(clippy::unwrap_used, reason = "a test whose run cannot be read fails")]

mod support;

use std::path::Path;

use record::{FaultOutcome, RunDirectory, write};
use rl::{
    trainer::{Ending, Event, Surroundings},
    warning::{Course, WarningOutcome, Weights},
};

use support::world::{World, assert_same_files, files_under, finish, interrupt_after, proceed, skip_step};

/// Steps done when the first warning is given.
const WARNED_AFTER: u64 = 5;

/// A world with such weights, and settings of a run that is warned by them and does `action`.
fn warned_world(action: &str) -> (World, Vec<String>) {
    let world = World::new();
    let mut weights = Weights { intercept: 3.0, risk_max: 0.5, ..Weights::own() };
    weights.features.iter_mut().for_each(|feature| feature.weight = 0.0);
    let path = world.path("weights.toml");
    write::replace(&path, weights.to_toml().as_bytes()).unwrap();
    let warning = format!("train.warning={{weights='{}',action={{{action}}}}}", path.display());
    (world, vec!["train.steps=7".to_owned(), "checkpoint={every_steps=2,keep_last=0}".to_owned(), warning])
}

fn texts(settings: &[String]) -> Vec<&str> {
    settings.iter().map(String::as_str).collect()
}

/// The steps of `run` at which a warning was given.
fn given(run: &RunDirectory) -> Vec<u64> {
    let metrics = run.metrics().unwrap().into_iter();
    metrics.filter(|step| step.warning.unwrap().given).map(|step| step.step).collect()
}

fn assert_same_training(ours: &Path, theirs: &Path) {
    for part in ["rollouts", "evaluations", "model"] {
        assert_same_files(&ours.join(part), &theirs.join(part), &[]);
    }
}

#[test]
fn a_warning_is_said_once_and_changes_nothing_in_the_run() {
    let (world, settings) = warned_world("warn={}");
    let mut trainer = world.start("warned", &texts(&settings)).unwrap();
    let mut told = Vec::new();
    let mut watch = |event: Event<'_>| {
        if let Event::Warned(warning) = event {
            told.push(*warning);
        }
    };
    trainer.run(&mut Surroundings { clock: &|| 0.0, interrupted: &|| false, watch: &mut watch }).unwrap();
    assert_eq!(
        told.iter().map(|warning| (warning.step, warning.outcome)).collect::<Vec<_>>(),
        [(WARNED_AFTER - 1, WarningOutcome::Said)]
    );
    // σ(3)
    assert!((told[0].risk - 0.952_574).abs() < 1e-6, "{told:?}");
    let run = trainer.run_directory();
    assert_eq!(given(run), [WARNED_AFTER - 1]);
    let risks: Vec<bool> = run.metrics().unwrap().iter().map(|step| step.warning.unwrap().risk.is_some()).collect();
    assert_eq!(risks, [false, false, false, false, true, true, true]);
    let plain = world.run("plain", &texts(&settings[..2]));
    assert!(plain.metrics().unwrap().iter().all(|step| step.warning.is_none()));
    assert_same_training(run.root(), plain.root());
}

#[test]
fn a_run_that_stops_leaves_a_checkpoint_and_goes_on_when_it_is_resumed() {
    let (world, settings) = warned_world("stop={}");
    let mut trainer = world.start("stopped", &texts(&settings)).unwrap();
    assert_eq!(proceed(&mut trainer, &|| false).unwrap(), Ending::Warned { step: WARNED_AFTER });
    assert!(files_under(&world.path("stopped")).contains_key("checkpoints/step-000005/manifest"));
    drop(trainer);
    finish(&mut world.resume("stopped").unwrap());
    assert_same_training(&world.path("stopped"), world.run("plain", &texts(&settings[..2])).root());
}

#[test]
fn weights_that_cannot_be_read_are_refused_before_anything_is_written() {
    let (world, settings) = warned_world("warn={}");
    let path = world.path("weights.toml");
    let whole = std::fs::read(&path).unwrap();
    write::replace(&path, b"risk_max = ").unwrap();
    let error = world.start("warned", &texts(&settings)).map(drop).unwrap_err().to_string();
    assert!(error.contains("weights.toml: "), "{error}");
    assert!(!world.path("warned").exists());
    write::replace(&path, &whole).unwrap();
    world.start("warned", &texts(&settings)).unwrap();
}

#[test]
fn lambda_is_lowered_from_the_warning_on_and_stays_so_in_a_resumed_run() {
    let (world, settings) = warned_world("lower-lambda={factor=0.5}");
    let run = world.run("lowered", &texts(&settings));
    // λ = 0.34 of six groups is two of them, half of that one.
    let selected: Vec<usize> = run.metrics().unwrap().iter().map(|step| step.selection.groups.len()).collect();
    assert_eq!(selected, [2, 2, 2, 2, 2, 1, 1]);
    for steps in [WARNED_AFTER, WARNED_AFTER + 1] {
        let name = format!("interrupted-{steps}");
        interrupt_after(&mut world.start(&name, &texts(&settings)).unwrap(), steps);
        finish(&mut world.resume(&name).unwrap());
        // The checkpoint that the interruption left is one more.
        let checkpoint = format!("checkpoints/step-{steps:06}");
        write::remove_directory(&world.path(&name).join(&checkpoint)).unwrap();
        write::remove_directory(&run.root().join(&checkpoint)).unwrap();
        assert_same_files(run.root(), &world.path(&name), &[]);
    }
}

#[test]
fn a_run_goes_back_to_before_the_rise_as_often_as_it_may_and_then_stops() {
    let (world, settings) = warned_world("return={times_max=1,lambda_factor=0.5}");
    let returned = |name: &str| {
        let mut trainer = world.start(name, &texts(&settings)).unwrap();
        assert_eq!(proceed(&mut trainer, &|| false).unwrap(), Ending::Warned { step: WARNED_AFTER });
    };
    returned("returned");
    let run = RunDirectory::open(&world.path("returned")).unwrap();
    let faults = run.faults().unwrap();
    let told: Vec<_> = faults.iter().map(|fault| (fault.step, fault.detours, fault.quantity.as_str())).collect();
    assert_eq!(told, [(WARNED_AFTER - 1, 0, "risk of collapse")]);
    assert_eq!(faults[0].outcome, FaultOutcome::Returned);
    // Back at the checkpoint after four steps, of which none had a risk.
    let selected: Vec<usize> = run.metrics().unwrap().iter().map(|step| step.selection.groups.len()).collect();
    assert_eq!(selected, [2, 2, 2, 2, 1]);
    assert_eq!(given(&run), [WARNED_AFTER - 1]);
    finish(&mut world.resume("returned").unwrap());
    // Interrupted before its return it comes to the same.
    interrupt_after(&mut world.start("interrupted", &texts(&settings)).unwrap(), 3);
    let mut resumed = world.resume("interrupted").unwrap();
    assert_eq!(proceed(&mut resumed, &|| false).unwrap(), Ending::Warned { step: WARNED_AFTER });
    drop(resumed);
    finish(&mut world.resume("interrupted").unwrap());
    write::remove_directory(&world.path("interrupted/checkpoints/step-000003")).unwrap();
    assert_same_files(run.root(), &world.path("interrupted"), &[]);
}

#[test]
fn a_damaged_checkpoint_to_go_back_to_leaves_the_later_ones() {
    let (world, mut settings) = warned_world("return={times_max=1}");
    settings.push("checkpoint.every_steps=3".into());
    interrupt_after(&mut world.start("run", &texts(&settings)).unwrap(), 4);
    let target = world.path("run/checkpoints/step-000003");
    write::replace(&target.join("state.json"), b"{}").unwrap();
    let before = files_under(&world.path("run/checkpoints"));
    let message = proceed(&mut world.resume("run").unwrap(), &|| false).unwrap_err().to_string();
    for said in ["holds no checkpoint to go back to: ", "step-000003/state.json", "to have the run go back further"] {
        assert!(message.contains(said), "{message}");
    }
    assert!(files_under(&world.path("run/checkpoints")) == before, "a checkpoint was removed");
    write::remove_directory(&target).unwrap();
    let ending = proceed(&mut world.resume("run").unwrap(), &|| false).unwrap();
    assert_eq!(ending, Ending::Warned { step: WARNED_AFTER }, "back at the start, and warned once more");
}

#[test]
fn other_weights_than_the_run_began_with_are_refused_by_name() {
    let (world, settings) = warned_world("warn={}");
    interrupt_after(&mut world.start("run", &texts(&settings)).unwrap(), 1);
    write::replace(&world.path("weights.toml"), Weights::own().to_toml().as_bytes()).unwrap();
    let message = world.resume("run").map(drop).unwrap_err().to_string();
    assert!(
        message.contains("weights.toml: (`train.warning.weights`) is not what it was when the run began"),
        "{message}"
    );
}

#[test]
fn courses_are_read_from_runs_that_are_over_and_others_are_refused() {
    let world = World::untrained();
    let run = world.run("run", &["train.steps=2"]);
    let course = Course::read(&run).unwrap();
    assert_eq!((course.steps.len(), course.collapse_step, course.start.as_str()), (2, None, "model"));
    interrupt_after(&mut world.start("half", &["train.steps=2", "evaluation.every_steps=1"]).unwrap(), 1);
    let half = RunDirectory::open(&world.path("half")).unwrap();
    let message = Course::read(&half).unwrap_err().to_string();
    assert!(message.ends_with("half: has done 1 of 2 steps; let it end first"), "{message}");
    skip_step(&half, 1);
    assert_eq!(Course::read(&half).unwrap().steps.len(), 1, "a step that was skipped is done");
}
