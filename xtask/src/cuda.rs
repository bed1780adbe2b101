//! The kernels for NVIDIA's cards: compiled by NVRTC, run in an emulation, and on a card where there is one; whole models
//! and runs likewise. What is checked and how is in the examples `cuda` of the crate `kernels` and `card` of `model` and `rl`; here the compiler is fetched and the commands put together.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::{
    bench,
    ci::Outcome,
    programs::{build_outputs, succeed},
};

/// How to check the kernels.
#[derive(Args)]
pub(crate) struct Options {
    /// Seed of the numbers that the emulated kernels are given.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Fetches cuBLAS, too (600 MB), and fails where no card is found.
    #[arg(long)]
    card: bool,
    /// Builds what checks and times into FOLDER, for a machine with a card and without a compiler, and checks nothing.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["card", "programs"])]
    bundle: Option<PathBuf>,
    /// Checks on the first card with the programs of such a FOLDER; NVIDIA's libraries are those of LD_LIBRARY_PATH.
    #[arg(long, value_name = "FOLDER")]
    programs: Option<PathBuf>,
}

/// Exit code of an example that finds no card.
const SKIPPED: i32 = 77;

/// The examples that check: of kernels, of models, of runs.
const EXAMPLES: [(&str, &str, &str); 3] =
    [("kernels", "cuda", "the kernels"), ("model", "card", "models"), ("rl", "card", "runs")];

/// Checks the kernels of the repository at `root`.
pub(crate) fn run(root: &Path, options: &Options) -> Result<ExitCode> {
    match (&options.bundle, &options.programs) {
        (Some(folder), _) => bundle(root, folder),
        (None, Some(folder)) => check_on_card(folder, options.seed),
        (None, None) => check_all(root, options),
    }
}

fn check_all(root: &Path, options: &Options) -> Result<ExitCode> {
    let folder = build_outputs(root).join("cuda");
    let venv = Environment::open(&folder.join("venv"))?;
    let scripts = root.join("scripts").join("cuda");
    let mut libraries = vec![venv.fetch(&scripts.join("requirements.txt"), "cuda_nvrtc")?];
    if options.card {
        libraries.push(venv.fetch(&scripts.join("requirements-card.txt"), "cublas")?);
    }
    // They are looked for when the program runs, as on a user's machine.
    let path = std::env::join_paths(libraries).context("a folder's name holds a colon")?;
    let seed = options.seed.to_string();
    let example = |(package, name, _): (&str, &str, &str)| {
        let mut command = Command::new("cargo");
        command.args(["run", "--quiet", "--package", package, "--example", name, "--"]);
        command.current_dir(root).env("LD_LIBRARY_PATH", &path);
        command
    };
    succeed(example(EXAMPLES[0]).arg("compile"), "compiling the kernels")?;
    for checks in EXAMPLES {
        let what = checks.2;
        // Runs have seeds of their own.
        let seed = (checks.0 != "rl").then_some(&seed);
        let mut emulate = example(checks);
        emulate.arg("emulate").arg(folder.join("emulation")).args(seed);
        succeed(&mut emulate, &format!("running {what} in an emulation"))?;
        let mut card = example(checks);
        card.arg("card").args(seed);
        let status = card.status().context("cannot start cargo")?;
        let is_skipped = status.code() == Some(SKIPPED) && !options.card;
        ensure!(is_skipped || status.success(), "running {what} on a card failed");
    }
    let emulation = format!("--emulation={}", folder.join("emulation").display());
    for row in ["tiny-train-bf16", "tiny-decode-bf16", "probe"] {
        let mut bench = Command::new("cargo");
        bench.args(["test", "--quiet", "--package", "rl", "--bench", "engine", "--", row, &emulation, "--repeats=1"]);
        succeed(bench.current_dir(root), "running the benchmark in an emulation")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds everything that runs on a card into `folder`.
fn bundle(root: &Path, folder: &Path) -> Result<ExitCode> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let outputs = build_outputs(root);
    let build =
        |arguments: &[&str]| succeed(Command::new("cargo").arg("build").args(arguments).current_dir(root), "cargo");
    for (package, example, _) in EXAMPLES {
        // One by one: two examples have the same name.
        build(&["--release", "--package", package, "--example", example])?;
        place(&outputs.join("release/examples").join(example), &folder.join(format!("{package}-{example}")))?;
    }
    build(&["--package", "xtask"])?;
    place(&outputs.join("debug/xtask"), &folder.join("xtask"))?;
    build(&["--release", "--package", "cli"])?;
    place(&outputs.join("release/brevity"), &folder.join("brevity"))?;
    place(&bench::build_engine(root)?, &folder.join(bench::ENGINE))?;
    let folder = folder.display();
    println!("there, in the repository: {folder}/xtask cuda --programs {folder}");
    println!("                          {folder}/xtask bench --card 0 --programs {folder} --peers VENV");
    Ok(ExitCode::SUCCESS)
}

/// Copies a program without what only a debugger reads.
fn place(built: &Path, to: &Path) -> Result<()> {
    let mut strip = Command::new("strip");
    succeed(strip.arg("-o").arg(to).arg(built), "strip; it is a part of binutils")
}

fn check_on_card(folder: &Path, seed: u64) -> Result<ExitCode> {
    for (package, example, what) in EXAMPLES {
        let mut check = Command::new(folder.join(format!("{package}-{example}")));
        check.arg("card");
        if package != "rl" {
            check.arg(seed.to_string());
        }
        succeed(&mut check, &format!("running {what} on a card"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The part of `cargo xtask ci`.
pub(crate) fn check(root: &Path) -> Result<Outcome> {
    check_all(root, &Options { seed: 0, card: false, bundle: None, programs: None }).map(|_| Outcome::PASSED)
}

/// A Python environment that is kept, for NVIDIA's libraries.
struct Environment(PathBuf);

impl Environment {
    /// The environment at `folder`, made where it is not there yet.
    fn open(folder: &Path) -> Result<Self> {
        let python = folder.join("bin").join("python");
        if !python.exists() {
            let mut venv = Command::new("python3");
            succeed(venv.args(["-m", "venv"]).arg(folder), "python3 -m venv; install Python's venv and pip")?;
        }
        Ok(Self(python))
    }

    /// Installs what the file `requirements` names, where it is not there yet; the folder of the libraries of its package.
    fn fetch(&self, requirements: &Path, package: &str) -> Result<PathBuf> {
        let mut pip = Command::new(&self.0);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps"]);
        pip.arg("--requirement").arg(requirements);
        succeed(&mut pip, &format!("pip install of {package}; the network is needed once"))?;
        let mut place = Command::new(&self.0);
        place.arg("-c").arg(format!("import nvidia.{package} as package; print(package.__path__[0])"));
        let output = place.output().context("cannot start the environment's python")?;
        ensure!(output.status.success(), "the wheel holds no package nvidia.{package}");
        let package = String::from_utf8(output.stdout).context("the path of the package is not UTF-8")?;
        Ok(Path::new(package.trim()).join("lib"))
    }
}
