//! The Python package: its wheel is built, installed into a fresh environment, tested there, and held to its stubs.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::{
    ci::Outcome,
    programs::{build_outputs, succeed},
};

/// Fetched at these versions: a new release does not move what CI says.
const TOOLS: [&str; 4] = ["maturin==1.16.0", "pytest==9.2.0", "mypy==2.4.1", "numpy==2.4.6"];

/// What `--with` installs; a lowest version is installed with the newest of everything else.
const TRL: [&str; 2] = ["trl==1.0.0", "trl==1.16.0"];

/// How to test the package.
#[derive(Args)]
pub(crate) struct Options {
    /// Also installs this package, at the lowest and the newest version that is promised, and runs its tests.
    #[arg(long, value_enum)]
    with: Option<Trainer>,
}

/// A trainer that the package extends.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Trainer {
    /// TRL, with PyTorch: some gigabytes.
    Trl,
}

/// Tests the package of the repository at `root`.
pub(crate) fn run(root: &Path, options: &Options) -> Result<ExitCode> {
    let environment = Environment::fresh(root)?;
    environment.test()?;
    if let Some(Trainer::Trl) = options.with {
        for version in TRL {
            environment.pip(&[version, "transformers>=5", "torch>=2.6"])?;
            println!("the tests with {version}:");
            environment.pytest(&["tests/test_trl.py", "tests/test_package.py"])?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The part of `cargo xtask ci`: all that needs no trainer.
pub(crate) fn check(root: &Path) -> Result<Outcome> {
    Environment::fresh(root)?.test()?;
    println!("not run here: the tests with TRL, which take gigabytes; cargo xtask python --with trl runs them");
    Ok(Outcome::PASSED)
}

/// A virtual environment with the wheel, below the folder of build outputs.
struct Environment {
    root: PathBuf,
    target: PathBuf,
    folder: PathBuf,
}

impl Environment {
    /// Builds the wheel and installs it into an environment that held nothing.
    fn fresh(root: &Path) -> Result<Self> {
        let target = build_outputs(root);
        let folder = target.join("python");
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        let own = Self { root: root.to_owned(), target, folder };
        let venv = Command::new("python3").args(["-m", "venv"]).arg(&own.folder).status();
        if !venv.context("cannot start python3; install Python 3.11 or later with venv and pip")?.success() {
            bail!("python3 -m venv failed; install Python's venv");
        }
        own.pip(&TOOLS)?;
        // The profile of the tests, for which everything is built already.
        let wheels = own.folder.join("wheels");
        let mut maturin = own.program("maturin");
        maturin
            .args(["build", "--profile", "dev", "--locked", "--interpreter"])
            .arg(own.python())
            .arg("--out")
            .arg(&wheels);
        succeed(maturin.current_dir(root.join("python")), "maturin build")?;
        let wheel = fs::read_dir(&wheels)?.next().context("maturin left no wheel")??.path();
        own.pip(&[wheel.to_str().context("the wheel's path is not UTF-8")?])?;
        Ok(own)
    }

    /// All tests that the environment has the packages for, the stubs against the module, and types.
    fn test(&self) -> Result<()> {
        succeed(
            Command::new("cargo").args(["build", "--quiet", "--package", "cli"]).current_dir(&self.root),
            "cargo build",
        )?;
        self.pytest(&[])?;
        // From a folder without the package's files, so that what is installed is looked at.
        succeed(self.program("stubtest").arg("brevity_rl._native").current_dir(&self.folder), "stubtest")?;
        let mut mypy = self.program("mypy");
        mypy.args(["--disallow-untyped-defs", "--ignore-missing-imports", "--package", "brevity_rl"]);
        succeed(mypy.current_dir(&self.folder), "mypy")
    }

    fn pytest(&self, arguments: &[&str]) -> Result<()> {
        let mut pytest = self.program("pytest");
        pytest.args(["-ra", "-q", "-p", "no:cacheprovider"]).args(arguments).current_dir(self.root.join("python"));
        pytest.env("BREVITY_PROGRAM", self.target.join("debug").join("brevity"));
        succeed(&mut pytest, "pytest")
    }

    fn pip(&self, packages: &[&str]) -> Result<()> {
        let mut pip = Command::new(self.python());
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(packages);
        succeed(&mut pip, "pip install; the network is needed once")
    }

    fn python(&self) -> PathBuf {
        self.folder.join("bin").join("python")
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.folder.join("bin").join(name));
        command.env("PATH", path_with(&self.folder.join("bin")));
        command
    }
}

fn path_with(first: &Path) -> std::ffi::OsString {
    let rest = env::var_os("PATH").unwrap_or_default();
    env::join_paths([first.to_owned()].into_iter().chain(env::split_paths(&rest))).unwrap_or(rest)
}
