//! `cargo xtask results`: the runs behind docs/results.md, kept as their metrics alone, and what is drawn from them.
//!
//! `docs/results/NAME.toml` is a sweep file, and `docs/results/NAME.tar.gz` holds its run directories without rollouts,
//! checkpoints and models. From them come the table between `<!-- results NAME -->` and `<!-- end -->` in
//! docs/results.md and a page of figures for each sweep in target/results.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::programs::succeed;

/// What is kept of a run directory.
const KEPT: [&str; 4] = ["run.json", "config.toml", "metrics.jsonl", "evaluations.jsonl"];

/// What to do with the stored runs.
#[derive(clap::Subcommand)]
pub(crate) enum Task {
    /// Draws every table and page from the stored runs: docs/results.md and target/results/NAME.html.
    Draw,
    /// Fails when docs/results.md holds another table than the stored runs give.
    Check,
    /// Stores the metrics of a finished sweep, under the name of its file in docs/results.
    Store {
        /// The sweep: docs/results/NAME.toml is its file.
        name: String,
        /// Directory of its runs.
        #[arg(value_name = "DIR")]
        runs: PathBuf,
    },
}

pub(crate) fn run(root: &Path, task: &Task) -> Result<()> {
    match task {
        Task::Draw => draw(root),
        Task::Check => check(root),
        Task::Store { name, runs } => store(root, name, runs),
    }
}

#[derive(Deserialize)]
struct Sweep {
    seeds: Vec<u64>,
    arms: Vec<Arm>,
}

#[derive(Deserialize)]
struct Arm {
    name: String,
}

impl Sweep {
    fn read(root: &Path, name: &str) -> Result<Self> {
        let path = root.join("docs/results").join(name).with_extension("toml");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is no sweep file", path.display()))
    }

    /// Names of the run directories, arm after arm.
    fn runs(&self) -> impl Iterator<Item = (&str, String)> {
        self.arms
            .iter()
            .flat_map(|arm| self.seeds.iter().map(move |seed| (arm.name.as_str(), format!("{}-seed{seed}", arm.name))))
    }
}

fn store(root: &Path, name: &str, runs: &Path) -> Result<()> {
    let sweep = Sweep::read(root, name)?;
    let archive = root.join("docs/results").join(format!("{name}.tar.gz"));
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "--mode=0644"]);
    tar.args(["--use-compress-program", "gzip -9n", "-cf"]).arg(&archive).arg("-C").arg(runs);
    for (_, run) in sweep.runs() {
        refuse_unfinished(&runs.join(&run))?;
        tar.args(KEPT.map(|file| format!("{run}/{file}")));
    }
    succeed(&mut tar, "tar")?;
    println!("{}", archive.display());
    Ok(())
}

/// Refuses a run whose last step has not been evaluated.
fn refuse_unfinished(run: &Path) -> Result<()> {
    let header = run.join("run.json");
    let text = fs::read_to_string(&header).with_context(|| format!("cannot read {}", header.display()))?;
    let Header { steps } = serde_json::from_str(&text).with_context(|| format!("{} has no steps", header.display()))?;
    let (_, end) = ends(&run.join("evaluations.jsonl"))?;
    ensure!(end.step == steps, "{} is at step {} of {steps}; finish the sweep first", run.display(), end.step);
    Ok(())
}

#[derive(Deserialize)]
struct Header {
    steps: u64,
}

/// Names of the stored sweeps, in order.
fn stored(root: &Path) -> Result<Vec<String>> {
    let directory = root.join("docs/results");
    let mut names = Vec::new();
    for entry in fs::read_dir(&directory).with_context(|| format!("cannot list {}", directory.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        names.extend(name.strip_suffix(".tar.gz").map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// Unpacks a stored sweep anew and returns its directory.
fn unpack(root: &Path, name: &str) -> Result<PathBuf> {
    let runs = root.join("target/results").join(name);
    if runs.exists() {
        fs::remove_dir_all(&runs).with_context(|| format!("cannot remove {}", runs.display()))?;
    }
    fs::create_dir_all(&runs).with_context(|| format!("cannot make {}", runs.display()))?;
    let archive = root.join("docs/results").join(format!("{name}.tar.gz"));
    succeed(Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(&runs), "tar")?;
    Ok(runs)
}

#[expect(clippy::disallowed_methods, reason = "a document is no run directory; git keeps the old one")]
fn draw(root: &Path) -> Result<()> {
    let path = root.join("docs/results.md");
    let mut text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    for name in stored(root)? {
        let runs = unpack(root, &name)?;
        let page = root.join("target/results").join(format!("{name}.html"));
        let mut report = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        report.current_dir(root).args(["run", "--quiet", "--package", "cli", "--", "--quiet", "report"]);
        succeed(report.arg(&runs).arg("--out").arg(&page).args(["--title", &name]), "brevity report")?;
        text = with_table(&text, &name, &table(&Sweep::read(root, &name)?, &runs)?)?;
        println!("{}", page.display());
    }
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// An error when a table of docs/results.md is not the one that the stored runs give.
pub(crate) fn check(root: &Path) -> Result<()> {
    let path = root.join("docs/results.md");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let names = stored(root)?;
    for name in &names {
        let expected = with_table(&text, name, &table(&Sweep::read(root, name)?, &unpack(root, name)?)?)?;
        ensure!(
            expected == text,
            "docs/results.md has another table for {name} than the stored runs: `cargo xtask results draw`"
        );
    }
    println!("docs/results.md has the tables of {} stored sweeps", names.len());
    Ok(())
}

/// `text` with the lines between the marks of sweep `name` replaced.
fn with_table(text: &str, name: &str, table: &str) -> Result<String> {
    let mark = format!("<!-- results {name} -->\n");
    let Some((before, rest)) = text.split_once(&mark) else { bail!("docs/results.md has no line `{}`", mark.trim()) };
    let Some((_, after)) = rest.split_once("<!-- end -->") else {
        bail!("docs/results.md: `{}` has no end", mark.trim())
    };
    Ok(format!("{before}{mark}\n{table}\n<!-- end -->{after}"))
}

/// What is read of a line of `evaluations.jsonl`.
#[derive(Deserialize)]
struct Evaluation {
    step: u64,
    accuracy: f64,
    completion_tokens: f64,
    decline: Decline,
}

#[derive(Deserialize)]
struct Decline {
    collapsed: bool,
    collapse_step: Option<u64>,
}

/// The arms of a sweep in the order of its file: means over seeds with standard errors, and every collapse.
fn table(sweep: &Sweep, runs: &Path) -> Result<String> {
    let mut of_arms: BTreeMap<&str, Vec<(Evaluation, Evaluation)>> = BTreeMap::new();
    for (arm, run) in sweep.runs() {
        of_arms.entry(arm).or_default().push(ends(&runs.join(run).join("evaluations.jsonl"))?);
    }
    let mut table = String::from(
        "| arm | seeds | accuracy at the end, % | lowest–highest | tokens at the end | of the start's | collapsed | at step | collapsed at the end |\n\
         |---|---:|---:|---:|---:|---:|---:|---|---:|\n",
    );
    for Arm { name } in &sweep.arms {
        let runs = &of_arms[name.as_str()];
        let ends = |value: &dyn Fn(&Evaluation) -> f64| runs.iter().map(|(_, end)| value(end)).collect::<Vec<f64>>();
        let accuracies = ends(&|end| 100.0 * end.accuracy);
        let tokens = ends(&|end| end.completion_tokens);
        let at_start: f64 = runs.iter().map(|(start, _)| start.completion_tokens).sum();
        let mut steps: Vec<u64> = runs.iter().filter_map(|(_, end)| end.decline.collapse_step).collect();
        steps.sort_unstable();
        let at = steps.iter().map(u64::to_string).collect::<Vec<String>>().join(", ");
        let down = runs.iter().filter(|(_, end)| end.decline.collapsed).count();
        let (lowest, highest) =
            accuracies.iter().fold((f64::MAX, f64::MIN), |(low, high), &x| (low.min(x), high.max(x)));
        writeln!(
            table,
            "| `{name}` | {} | {} | {lowest:.1}–{highest:.1} | {} | {:.0} % | {} of {} | {} | {down} |",
            runs.len(),
            estimate(&accuracies),
            estimate(&tokens),
            100.0 * tokens.iter().sum::<f64>() / at_start,
            steps.len(),
            runs.len(),
            if at.is_empty() { "–" } else { &at },
        )?;
    }
    Ok(table)
}

/// The first and the last evaluation of a run.
fn ends(path: &Path) -> Result<(Evaluation, Evaluation)> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let read = |line: Option<&str>| -> Result<Evaluation> {
        let line = line.with_context(|| format!("{} is empty", path.display()))?;
        serde_json::from_str(line).with_context(|| format!("{} holds no evaluation", path.display()))
    };
    Ok((read(text.lines().next())?, read(text.lines().last())?))
}

/// Mean and standard error.
fn estimate(values: &[f64]) -> String {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (count - 1.0);
    if values.len() < 2 {
        // One seed has no spread.
        return format!("{mean:.1}");
    }
    format!("{mean:.1} ± {:.1}", (variance / count).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_is_the_mean_and_its_standard_error() {
        // 2, 4, 9: mean 5, sample variance 13, √(13/3) = 2.08.
        assert_eq!(estimate(&[2.0, 4.0, 9.0]), "5.0 ± 2.1");
        assert_eq!(estimate(&[2.0]), "2.0");
    }

    #[test]
    fn only_the_lines_between_the_marks_are_replaced() {
        let text = "a\n<!-- results ring -->\nold\n<!-- end -->\nb\n";
        assert_eq!(
            with_table(text, "ring", "| new |\n").unwrap(),
            "a\n<!-- results ring -->\n\n| new |\n\n<!-- end -->\nb\n"
        );
        assert!(with_table(text, "sum", "").unwrap_err().to_string().contains("<!-- results sum -->"));
    }
}
