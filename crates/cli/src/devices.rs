//! `brevity devices`: what of this machine could compute, and why the rest could not. Who looks is `kernels`.

use anyhow::Result;
use model::cuda::{self, Card, Survey, Unusable};
use rl::estimate::gibibytes;

use crate::{
    Outcome,
    console::Console,
    machine,
    table::{counted, labelled},
};

const EXAMPLES: &str = "\
Examples:
  brevity devices
  LD_LIBRARY_PATH=venv/lib/python3.12/site-packages/nvidia/cuda_nvrtc/lib brevity devices

What was not found is there with the reason and what to do; that is no failure, and the exit code is 0.
A card is chosen with `brevity train --device cuda:N`: docs/gpu.md says what runs there.";

/// List the processor and the cards, with the reason for each that is not usable.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {}

/// Runs `brevity devices`.
pub(crate) fn run(Arguments {}: &Arguments, console: &Console) -> Result<Outcome> {
    for line in lines(&processor(), &cuda::survey()) {
        console.result(line)?;
    }
    Ok(Outcome::Done)
}

fn processor() -> String {
    let memory = machine::memory_bytes_available().map_or_else(
        || "the system does not tell its memory".to_owned(),
        |bytes| format!("{} available", gibibytes(bytes)),
    );
    format!("{}, {}, {memory}", counted(machine::cores(), "core"), model::instruction_set().name())
}

/// A row for each device and each library, in lines of at most 80 columns.
fn lines(processor: &str, survey: &Survey) -> Vec<String> {
    let Survey { driver, compiler, products, cards } = survey;
    let mut rows = vec![("cpu".to_owned(), processor.to_owned())];
    for (index, card) in cards.iter().flatten().enumerate() {
        rows.push((format!("cuda:{index}"), card_row(card)));
    }
    rows.push(("driver".to_owned(), driver.as_ref().map_or_else(not_usable, |version| format!("for CUDA {version}"))));
    if let (Ok(_), Err(fault)) = (driver, cards) {
        rows.push(("cards".to_owned(), not_usable(fault)));
    }
    rows.push(("NVRTC".to_owned(), compiler.as_ref().map_or_else(not_usable, |version| format!("of CUDA {version}"))));
    rows.push(("cuBLAS".to_owned(), products.as_ref().map_or_else(not_usable, |version| format!("version {version}"))));
    let named = |(name, text): (String, String)| {
        let names = std::iter::once(name).chain(std::iter::repeat(String::new()));
        names.zip(wrapped(&text)).collect::<Vec<_>>()
    };
    let rows: Vec<(String, String)> = rows.into_iter().flat_map(named).collect();
    labelled(&rows.iter().map(|(name, text)| (name.as_str(), text.clone())).collect::<Vec<_>>())
}

fn card_row(card: &Card) -> String {
    let Card { name, capability, memory_bytes, free_bytes } = card;
    let free = free_bytes.as_ref().map_or_else(|_| String::new(), |&bytes| format!("{} free of ", gibibytes(bytes)));
    let fault = card.fault().map_or_else(String::new, |fault| format!("; {}", not_usable(&fault)));
    format!("{name}, compute capability {capability}, {free}{}{fault}", gibibytes(*memory_bytes))
}

fn not_usable(fault: &Unusable) -> String {
    format!("not usable: {fault}; {}", fault.remedy())
}

/// Columns of a line that the names leave.
const COLUMNS: usize = 80 - "cuda:10  ".len();

/// `text` in lines of at most [`COLUMNS`], cut at spaces.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last_mut().expect("there is a first line");
        if last.is_empty() {
            word.clone_into(last);
        } else if last.chars().count() + 1 + word.chars().count() <= COLUMNS {
            *last += " ";
            *last += word;
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}
