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

/// How to test the package.
#[derive(Args)]
pub(crate) struct Options {
    /// Tests the package with this trainer, in place of what needs none; 3 GB are fetched.
    #[arg(long, value_enum)]
    with: Vec<Trainer>,
    /// Which versions of what the package uses: of each the newest, or the lowest that the package promises.
    #[arg(long, value_enum, default_value_t = Versions::Newest)]
    versions: Versions,
    /// The interpreter.
    #[arg(long, default_value = "python3")]
    python: PathBuf,
}

/// A trainer that the package extends.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Trainer {
    /// TRL, with `PyTorch`.
    Trl,
    /// verl, with `PyTorch`; its newest version is its lowest.
    Verl,
}

impl Trainer {
    fn package(self) -> &'static str {
        match self {
            Self::Trl => "trl",
            Self::Verl => "verl",
        }
    }

    /// The tests that need it or what it brings.
    fn tests(self) -> &'static [&'static str] {
        match self {
            Self::Trl => &["tests/test_trl.py", "tests/test_hooks.py", "tests/test_package.py"],
            Self::Verl => &["tests/test_verl.py", "tests/test_package.py"],
        }
    }
}

/// The versions of everything that is fetched are those of a file in `python/versions`: a new release does not move what
/// CI says.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Versions {
    /// The newest.
    Newest,
    /// The lowest.
    Lowest,
}

impl Versions {
    fn name(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Lowest => "lowest",
        }
    }
}

/// Tests the package of the repository at `root`.
pub(crate) fn run(root: &Path, options: &Options) -> Result<ExitCode> {
    let environment = Environment::fresh(root, options)?;
    let wheel = environment.wheel()?;
    environment.install(&wheel, &["pandas", "polars"], None)?;
    if options.with.is_empty() {
        environment.test()?;
    }
    for trainer in &options.with {
        environment.install(&wheel, &[trainer.package()], Some(*trainer))?;
        environment.pytest(trainer.tests())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The part of `cargo xtask ci` that needs no trainer.
pub(crate) fn check(root: &Path) -> Result<Outcome> {
    check_with(root, Vec::new())
}

/// The part of `cargo xtask ci` with TRL.
pub(crate) fn check_trl(root: &Path) -> Result<Outcome> {
    check_with(root, vec![Trainer::Trl])
}

fn check_with(root: &Path, with: Vec<Trainer>) -> Result<Outcome> {
    run(root, &Options { with, versions: Versions::Newest, python: "python3".into() })?;
    Ok(Outcome::PASSED)
}

/// A virtual environment with the wheel, below the folder of build outputs.
struct Environment {
    root: PathBuf,
    target: PathBuf,
    folder: PathBuf,
    versions: Versions,
}

impl Environment {
    /// An environment that holds nothing.
    fn fresh(root: &Path, options: &Options) -> Result<Self> {
        let target = build_outputs(root);
        let folder = target.join("python");
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        let python = options.python.display();
        let started = Command::new(&options.python).args(["-m", "venv"]).arg(&folder).status();
        if !started.with_context(|| format!("cannot start {python}; install Python with venv and pip"))?.success() {
            bail!("{python} -m venv failed; install Python's venv");
        }
        Ok(Self { root: root.to_owned(), target, folder, versions: options.versions })
    }

    /// Builds the wheel, in the profile of the tests, for which everything is built already.
    fn wheel(&self) -> Result<String> {
        self.pip(None, &["maturin", "pytest", "mypy"])?;
        let wheels = self.folder.join("wheels");
        let mut maturin = self.program("maturin");
        maturin
            .args(["build", "--profile", "dev", "--locked", "--interpreter"])
            .arg(self.python())
            .arg("--out")
            .arg(&wheels);
        succeed(maturin.current_dir(self.root.join("python")), "maturin build")?;
        let wheel = fs::read_dir(&wheels)?.next().context("maturin left no wheel")??.path();
        Ok(wheel.to_str().context("the wheel's path is not UTF-8")?.to_owned())
    }

    /// Installs the wheel with some of its extras, which refuses versions that the package does not promise.
    fn install(&self, wheel: &str, extras: &[&str], trainer: Option<Trainer>) -> Result<()> {
        self.pip(trainer, &[&format!("{wheel}[{}]", extras.join(","))])
    }

    /// All tests that need no trainer, and at the newest versions the stubs against the module, and types.
    fn test(&self) -> Result<()> {
        self.pytest(&[])?;
        match self.versions {
            Versions::Lowest => return Ok(()),
            Versions::Newest => {}
        }
        // From a folder without the package's files, so that what is installed is looked at.
        succeed(self.program("stubtest").arg("brevity_rl._native").current_dir(&self.folder), "stubtest")?;
        let mut mypy = self.program("mypy");
        mypy.args(["--disallow-untyped-defs", "--ignore-missing-imports", "--package", "brevity_rl"]);
        succeed(mypy.current_dir(&self.folder), "mypy")
    }

    fn pytest(&self, arguments: &[&str]) -> Result<()> {
        succeed(
            Command::new("cargo").args(["build", "--quiet", "--package", "cli"]).current_dir(&self.root),
            "cargo build",
        )?;
        let mut pytest = self.program("pytest");
        pytest.args(["-ra", "-q", "-p", "no:cacheprovider"]).args(arguments).current_dir(self.root.join("python"));
        pytest.env("BREVITY_PROGRAM", self.target.join("debug").join("brevity"));
        succeed(&mut pytest, "pytest")
    }

    /// Installs packages. Nothing is compiled to bytecode, which would take longer for `PyTorch` than its tests.
    fn pip(&self, trainer: Option<Trainer>, packages: &[&str]) -> Result<()> {
        let versions = self.versions.name();
        let file = match trainer {
            None => format!("{versions}.txt"),
            Some(Trainer::Trl) => format!("{versions}-trl.txt"),
            Some(Trainer::Verl) => "verl.txt".to_owned(),
        };
        let mut pip = Command::new(self.python());
        pip.args(["-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check", "--constraint"])
            .arg(self.root.join("python").join("versions").join(file))
            .args(packages);
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
