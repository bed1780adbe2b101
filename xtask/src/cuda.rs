//! The kernels for NVIDIA's cards: compiled by NVRTC, run in an emulation, and on a card where there is one. What is checked
//! and how is the example `cuda` of the crate `kernels`; here the compiler is fetched and the commands put together.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::{
    ci::Outcome,
    programs::{build_outputs, succeed},
};

/// How to check the kernels.
#[derive(Args)]
pub(crate) struct Options {
    /// Seed of the numbers that the emulated kernels are given.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// Checks the kernels of the repository at `root`.
pub(crate) fn run(root: &Path, options: &Options) -> Result<ExitCode> {
    let folder = build_outputs(root).join("cuda");
    let compiler = nvrtc(root, &folder.join("venv"))?;
    let seed = options.seed.to_string();
    // libnvrtc is looked for when the program runs, as on a user's machine.
    succeed(example(root).arg("compile").env("LD_LIBRARY_PATH", &compiler), "compiling the kernels")?;
    let mut emulate = example(root);
    succeed(emulate.arg("emulate").arg(folder.join("emulation")).arg(&seed), "running the kernels in an emulation")?;
    let mut card = example(root);
    succeed(card.args(["card", &seed]).env("LD_LIBRARY_PATH", &compiler), "running the kernels on a card")?;
    Ok(ExitCode::SUCCESS)
}

/// The part of `cargo xtask ci`.
pub(crate) fn check(root: &Path) -> Result<Outcome> {
    run(root, &Options { seed: 0 }).map(|_| Outcome::PASSED)
}

/// Installs NVRTC's wheel into an environment of its own, where it is not there yet; the folder of its libraries.
fn nvrtc(root: &Path, environment: &Path) -> Result<PathBuf> {
    let python = environment.join("bin").join("python");
    if !python.exists() {
        let mut venv = Command::new("python3");
        succeed(venv.args(["-m", "venv"]).arg(environment), "python3 -m venv; install Python's venv and pip")?;
    }
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps"]);
    pip.arg("--requirement").arg(root.join("scripts").join("cuda").join("requirements.txt"));
    succeed(&mut pip, "pip install of NVRTC; the network is needed once")?;
    let mut place = Command::new(&python);
    place.args(["-c", "import nvidia.cuda_nvrtc as package; print(package.__path__[0])"]);
    let output = place.output().context("cannot start the environment's python")?;
    ensure!(output.status.success(), "NVRTC's wheel holds no package nvidia.cuda_nvrtc");
    let package = String::from_utf8(output.stdout).context("the path of NVRTC's package is not UTF-8")?;
    Ok(Path::new(package.trim()).join("lib"))
}

/// The example that checks, with what it is to do still to be added.
fn example(root: &Path) -> Command {
    let mut command = Command::new("cargo");
    command.args(["run", "--quiet", "--package", "kernels", "--example", "cuda", "--"]).current_dir(root);
    command
}
