//! Checks of whole runs on a card: `cargo xtask cuda` runs it after the checks of models.
//!
//! `emulate DIRECTORY` runs them on an emulated card, whose sources are built into DIRECTORY; `card` on the first card, and
//! says so where there is none. The first step is held to that of the processor, with a reference and several passes; a run
//! that goes on from its checkpoint, and one whose completions wait for room, to the same bytes. That sampling and training
//! agree bit by bit, the trainer itself asserts in every step.

#![expect(clippy::print_stdout, reason = "a check talks through its output")]
#![allow(clippy::unwrap_used, reason = "a check that cannot be made fails")]

#[path = "../../kernels/examples/cuda/command.rs"]
#[expect(dead_code, reason = "runs have seeds of their own")]
mod command;
#[path = "../tests/support/world.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod world;

use std::{fs, path::Path, process::ExitCode, sync::Arc};

use model::{
    ModelConfig,
    card::CardPages,
    cuda::{card::OpenCard, emulation::Emulation, machine::Machine},
};
use record::{RunDirectory, StepMetrics};
use rl::{
    device::Resources,
    trainer::{Provenance, Trainer},
};

use world::{World, finish, interrupt_after, proceed};

/// What the runs have in common: a reference and two passes, so that everything that a run can ask for is asked for.
const COMMON: [&str; 9] = [
    "compute='bf16'",
    "train.steps=2",
    "train.passes=2",
    "train.loss.kl_weight=0.01",
    "rollout.prompts_per_step=3",
    "rollout.group_size=4",
    "evaluation.limit=2",
    "evaluation.samples=1",
    "evaluation.every_steps=2",
];
const ON_CARD: &str = "device='cuda:0'";
/// Largest difference of the first step's metrics from those of the processor, of 1 or of the metric where that is more: a
/// token may be another one where two distributions meet, and that moves everything a little.
const NEAR: f64 = 0.05;

const USAGE: &str = "card emulate DIRECTORY | card card";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        // The heads of the embedded tasks' models.
        ["emulate", directory] => {
            let emulation = Arc::new(Emulation::build(Path::new(directory), &[16]));
            for kind in [Kind::Whole, Kind::Adapter] {
                check(kind, &(Arc::<Emulation>::clone(&emulation) as Arc<dyn Machine>));
                check_memory(kind, &emulation);
            }
        }
        ["card"] => match OpenCard::open(0, None) {
            Ok(card) => [Kind::Whole, Kind::Adapter].into_iter().for_each(|kind| check(kind, &(card.clone() as _))),
            Err(fault) => command::skip("no run", (&fault, fault.remedy())),
        },
        _ => return command::fail("nothing to do", USAGE),
    }
    ExitCode::SUCCESS
}

/// What a run trains.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Whole,
    Adapter,
}

impl Kind {
    fn changes(self) -> &'static [&'static str] {
        match self {
            Self::Whole => &[],
            Self::Adapter => &["model.lora.rank=8", "train.optimizer.learning_rate=1e-2"],
        }
    }

    /// The weights that a run leaves.
    fn weights(self, run: &RunDirectory) -> Vec<u8> {
        let file = match self {
            Self::Whole => "model.safetensors",
            Self::Adapter => "adapter_model.safetensors",
        };
        fs::read(run.root().join("model").join(file)).unwrap()
    }
}

fn check(kind: Kind, card: &Arc<dyn Machine>) {
    println!("{kind:?}:");
    let world = World::new();
    let start = |name: &str, changes: &[&str], card| start(&world, name, &[kind.changes(), changes].concat(), card);
    let run = |name: &str, changes: &[&str], card| {
        let mut trainer = start(name, changes, card);
        finish(&mut trainer);
        trainer.run_directory().clone()
    };
    let there = run("processor", &[], None);
    let here = run("card", &[ON_CARD], Some(card));
    compare(&here.metrics().unwrap()[0], &there.metrics().unwrap()[0]);

    let mut interrupted = start("interrupted", &[ON_CARD], Some(card));
    interrupt_after(&mut interrupted, 1);
    let root = interrupted.run_directory().root().to_owned();
    drop(interrupted);
    let resources = Resources { memory_bytes_available: None, card: Some(Arc::clone(card)) };
    let mut trainer = Trainer::resume(&root, |model| Ok(world.path(model).into()), resources).unwrap();
    finish(&mut trainer);
    let weights = kind.weights(&here);
    assert_eq!(kind.weights(trainer.run_directory()), weights, "a run that went on from its checkpoint");
    println!("a run that goes on after a step: the same bytes");

    // Sampling is the same whatever is trained.
    let Kind::Whole = kind else { return };
    // Room for a prompt and four completions, of the twelve that a step wants.
    let page = CardPages::bytes(&ModelConfig::read(&world.model()).unwrap(), 1);
    let room = format!("rollout.cache_bytes_max={}", 5 * page);
    let waiting = run("waiting", &[ON_CARD, &room], Some(card));
    assert_eq!(kind.weights(&waiting), weights, "a run whose completions waited for room");
    println!("a run whose completions wait for room: the same bytes");
}

/// A run takes no more memory than was planned for, and most of it.
fn check_memory(kind: Kind, emulation: &Arc<Emulation>) {
    let world = World::untrained();
    emulation.largest_bytes();
    let card: Arc<dyn Machine> = Arc::<Emulation>::clone(emulation);
    // An untrained policy seldom ends a completion.
    let changes = [kind.changes(), &[ON_CARD, "train.steps=1"]].concat();
    let mut trainer = start(&world, "memory", &changes, Some(&card));
    let planned = trainer.plan().estimate.total() as f64;
    let share = || emulation.largest_bytes() as f64 / planned;
    finish(&mut trainer);
    drop(trainer);
    let ran = share();
    println!("a run took {:.0} % of the memory that was planned for", 100.0 * ran);
    assert!((0.6..1.0).contains(&ran), "{ran} of the memory that was planned for");
    let faults = "train.faults={gradient_norm_limit=1e-30,remedy={return={times_max=1}}}";
    // A reward of lengths, as no completion is correct.
    let returning = [&changes[..], &["train.shaping={kimi={}}", faults]].concat();
    let mut trainer = start(&world, "returned", &returning, Some(&card));
    proceed(&mut trainer, &|| false).unwrap_err();
    let returned = share();
    println!("a run that went back to its start took {:.0} %", 100.0 * returned);
    assert!(returned < 1.0, "{returned} of the memory that was planned for");
}

fn start(world: &World, name: &str, changes: &[&str], card: Option<&Arc<dyn Machine>>) -> Trainer {
    let resources = Resources { memory_bytes_available: None, card: card.cloned() };
    let provenance = Provenance { resources, ..world::provenance() };
    let config = world.config(&[&COMMON[..], changes].concat());
    Trainer::start(config, &world.model().into(), &world.path(name), &provenance).unwrap()
}

/// Panics unless the first step on the card is about that of the processor.
fn compare(card: &StepMetrics, processor: &StepMetrics) {
    let figures = |metrics: &StepMetrics| {
        [
            ("mean reward", metrics.reward_mean),
            ("correct", metrics.correctness_ratio),
            ("tokens", metrics.completion_tokens.mean),
            ("entropy", metrics.entropy_nats),
            ("loss", metrics.loss),
            ("gradient norm", metrics.gradient_norm),
        ]
    };
    for ((name, ours), (_, theirs)) in figures(card).into_iter().zip(figures(processor)) {
        println!("first step, {name}: {ours:.5} (processor {theirs:.5})");
        assert!((ours - theirs).abs() < NEAR * theirs.abs().max(1.0), "{name}: {ours}, on the processor {theirs}");
    }
}
