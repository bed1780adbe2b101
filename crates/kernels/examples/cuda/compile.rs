//! Every kernel for two architectures: that it compiles without a warning, and that all of it fits registers.

use std::{fs, fs::File, process::ExitCode};

use kernels::cuda::{
    compile::{CompileError, Usage, compile},
    kept::compile_kept,
    launch::{self, Launch},
    sources::{SOURCES, Source, Width},
};

/// Names of architectures, and the shared memory that a block may have there (CUDA C++ Programming Guide 12.9, table of
/// technical specifications per compute capability).
const ARCHITECTURES: [(&str, usize); 2] = [("sm_80", 163 << 10), ("sm_90a", 227 << 10)];
/// Head widths of models (64, 128), one that a tile fills up (40), and the smallest (8 is filled up to it).
const HEAD_WIDTHS: [usize; 4] = [16, 40, 64, 128];

/// Compiles every source and prints a row for each kernel; fails on an error, a warning, or a byte of local memory.
pub(crate) fn compile_all() -> ExitCode {
    println!(
        "{:<28}{:>5}  {:<12}{:>10}{:>8}{:>7}{:>7}",
        "kernel", "D", "architecture", "registers", "shared", "spills", "local"
    );
    let mut faults = Vec::new();
    for source in &SOURCES {
        let widths = if source.width == Width::Head { &HEAD_WIDTHS[..] } else { &[0] };
        for (&width, architecture) in widths.iter().flat_map(|width| ARCHITECTURES.map(|one| (width, one))) {
            match compile_one(source, width, architecture) {
                Ok(found) => faults.extend(found),
                Err(error) => {
                    println!("{error}");
                    return ExitCode::FAILURE;
                }
            }
        }
    }
    faults.extend(kept_fault());
    for fault in &faults {
        println!("{fault}");
    }
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What is wrong with code that was kept: it is that of the compiler, the compiler is asked once, and again when the file is
/// damaged.
fn kept_fault() -> Option<String> {
    let (source, (architecture, _)) = (&SOURCES[0], ARCHITECTURES[0]);
    let directory = std::env::temp_dir().join(format!("brevity-kept-kernels-{}", std::process::id()));
    let taken = || compile_kept(&directory, source, architecture, 0).map_err(|error| error.to_string());
    let check = || -> Result<(), String> {
        let first = taken()?;
        for is_damaged in [false, true] {
            if is_damaged {
                let entry = fs::read_dir(&directory).map_err(|error| error.to_string())?.flatten().next();
                let path = entry.ok_or("nothing is kept")?.path();
                File::options()
                    .write(true)
                    .open(path)
                    .and_then(|file| file.set_len(100))
                    .map_err(|error| error.to_string())?;
            }
            let again = taken()?;
            if again.cubin != first.cubin || again.log.is_empty() == is_damaged {
                return Err(format!("{} is not kept as it was compiled (damaged: {is_damaged})", source.name));
            }
        }
        Ok(())
    };
    let fault = check().err();
    let _ = fs::remove_dir_all(&directory);
    fault
}

/// The faults of one source for one architecture and head width, 0 where it is for any.
fn compile_one(
    source: &Source,
    width: usize,
    (architecture, shared_bytes_max): (&str, usize),
) -> Result<Vec<String>, CompileError> {
    let compiled = compile(source, architecture, width)?;
    let place = format!("{} for {architecture}", source.name);
    let mut faults: Vec<String> = compiled.warnings().iter().map(|line| format!("{place}: {line}")).collect();
    let usages = compiled.usages();
    if usages.len() != source.kernels.len() {
        faults.push(format!("{place}: the compiler tells of {} kernels of {:?}", usages.len(), source.kernels));
    }
    for &kernel in source.kernels {
        let Some(usage) = usages.iter().find(|usage| usage.kernel == kernel) else {
            faults.push(format!("{place}: the compiler does not tell of {kernel}"));
            continue;
        };
        let &Usage { registers, spilled_bytes, local_bytes, .. } = usage;
        let shared = shared_bytes(kernel, width);
        let of_width = if width == 0 { String::new() } else { width.to_string() };
        println!(
            "{kernel:<28}{of_width:>5}  {architecture:<12}{registers:>10}{shared:>8}{spilled_bytes:>7}{local_bytes:>7}"
        );
        if registers == 0 || spilled_bytes + local_bytes > 0 || shared > shared_bytes_max {
            faults.push(format!(
                "{place}: {kernel} (D {width}) has {registers} registers, spills {spilled_bytes} bytes, has {local_bytes} \
                 bytes of local memory, and {shared} bytes of shared memory, of which there are {shared_bytes_max}"
            ));
        }
    }
    Ok(faults)
}

/// Shared memory of a block, which depends on nothing but the kernel and the head width.
fn shared_bytes(kernel: &str, width: usize) -> usize {
    let launches: [Launch; 27] = [
        launch::embedding_forward(1),
        launch::embedding_backward(1),
        launch::rms_norm_forward(1),
        launch::rms_norm_backward(1),
        launch::rms_norm_backward_onto(1),
        launch::rms_norm_weight_chunks(1, 1),
        launch::row_chunks(1, 1),
        launch::add_chunks(1),
        launch::add_bias(1),
        launch::round_values(1),
        launch::head_forward(1),
        launch::head_backward(1, width),
        launch::gate_forward(1),
        launch::gate_backward(1),
        launch::attention_forward(1, 1, width),
        launch::attention_delta(1),
        launch::attention_backward_queries(1, 1, width),
        launch::attention_backward_keys(1, 1, width),
        launch::attention_decode(1, 1, width),
        launch::cache_append(1),
        launch::head_sums(1, 1),
        launch::head_logprobs(1),
        launch::head_gradients(1, 1),
        launch::sample(1, 1),
        launch::adamw(1),
        launch::square_blocks(1),
        launch::global_norm(),
    ];
    let found = launches.iter().find(|launch| launch.kernel == kernel);
    found.unwrap_or_else(|| panic!("{kernel} is in no list of launches")).shared_bytes
}
