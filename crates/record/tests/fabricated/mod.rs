//! Run directories with made-up but plausible numbers: the ring task of the demo as three arms. Not a simulation:
//! each arm drifts from the start to where it is said to end, with noise from the seed.

use std::{collections::BTreeMap, fs, path::PathBuf};

use record::{
    BudgetSummary, Decline, EvaluationRecord, EvaluationSummary, LengthSummary, Lengths, LevelSummary, PhaseSeconds,
    PrefixVerdicts, RolloutRecord, RunDirectory, RunHeader, SCHEMA_VERSION, SelectionMetrics, SignalMetrics,
    StepMetrics, StopReason, TokenSource, TokenStatistics,
};
use verify::Verdict;

/// What is fabricated of an arm.
#[derive(Clone)]
pub(crate) struct ArmPlan {
    /// Name of the arm.
    pub(crate) arm: &'static str,
    /// Accuracy at the end; 0.84 at the start.
    pub(crate) accuracy: f64,
    /// Mean completion tokens at the end; 22.8 at the start.
    pub(crate) tokens: f64,
    /// Share of groups under length penalty.
    pub(crate) selected: f64,
    /// The shaper in the arm's config.
    pub(crate) shaping: &'static str,
}

/// Steps and evaluations of a run.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    /// Steps asked for.
    pub(crate) steps: u64,
    /// Steps recorded.
    pub(crate) steps_done: u64,
    /// Steps between two evaluations; none for no evaluations.
    pub(crate) evaluate_every: Option<u64>,
}

/// The arms of the demo.
pub(crate) const ARMS: [ArmPlan; 3] = [
    ArmPlan { arm: "GRPO", accuracy: 0.97, tokens: 24.6, selected: 0.0, shaping: "grpo]" },
    ArmPlan {
        arm: "length penalty",
        accuracy: 0.67,
        tokens: 15.2,
        selected: 1.0,
        shaping: "length-penalty]\nalpha = 0.2",
    },
    ArmPlan {
        arm: "GRPO-λ 20 %",
        accuracy: 0.965,
        tokens: 19.4,
        selected: 0.2,
        shaping: "top-lambda]\nlambda = 0.2\nalpha = 0.2\nselect = \"top\"",
    },
];

/// A run of the demo's length.
pub(crate) const WHOLE: Extent = Extent { steps: 70, steps_done: 70, evaluate_every: Some(10) };

const LEVELS: [u32; 4] = [2, 4, 6, 8];
const PROBLEMS_PER_LEVEL: u32 = 50;
const BENCHMARK: &str = "ring-held-out";

/// A number in 0..1 from a splitmix64 stream (Steele, Lea and Flood 2014).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as f64 / u64::MAX as f64
    }

    fn about(&mut self, value: f64, width: f64) -> f64 {
        value + (self.next() - 0.5) * width
    }
}

/// An empty directory for one test's runs.
pub(crate) fn directory(test: &str) -> PathBuf {
    let root = PathBuf::from(option_env!("CARGO_TARGET_TMPDIR").unwrap_or("/tmp")).join(test);
    if root.exists() {
        fs::remove_dir_all(&root).expect("the directory of an earlier run of the test is removed");
    }
    root
}

/// Writes one run under `root`.
pub(crate) fn run(root: &std::path::Path, plan: &ArmPlan, seed: u64, extent: Extent) -> RunDirectory {
    let header = RunHeader {
        schema: SCHEMA_VERSION,
        arm: plan.arm.to_owned(),
        seed,
        steps: extent.steps,
        brevity_version: "0.1.0".to_owned(),
        cpu: "avx2+fma".to_owned(),
        compute: "f32".to_owned(),
        mathematics: "0123456789abcdef".to_owned(),
        inputs: BTreeMap::new(),
        threads: 2,
        model: "warm-start/ring".to_owned(),
        parameters: 157_824,
        started_unix_seconds: 1_767_225_600 + seed * 60,
    };
    let slug: String = plan.arm.chars().filter(char::is_ascii_alphanumeric).collect();
    let config = format!(
        "arm = '{}'\nseed = {seed}\n# <b>not bold</b>\n[model]\npath = 'start/{seed}'\n[problems]\npath = 'p.jsonl'\n\
         [train]\nsteps = {}\nadvantage = 'group-std'\n[train.shaping.{}\n",
        plan.arm, extent.steps, plan.shaping
    );
    let run = RunDirectory::create(&root.join(format!("{slug}-{seed}")), &header, &config).expect("a new directory");
    let salt: u64 = plan.arm.bytes().map(u64::from).sum();
    let mut noise = Noise(seed * 7919 + salt);
    for step in 0..=extent.steps_done {
        if extent.evaluate_every.is_some_and(|every| step % every == 0) {
            // Every arm starts from the same policy, measured in the same way.
            let mut start = Noise(seed + 1);
            let (mut summary, records) = evaluation(plan, seed, step, if step == 0 { &mut start } else { &mut noise });
            summary.decline = Some(decline(plan, seed, step));
            run.append_evaluation(&summary, &records).expect("the evaluation is written");
        }
        if step < extent.steps_done {
            run.append_metrics(&metrics(plan, step, &mut noise)).expect("the metrics are written");
        }
    }
    if let (None, Some(last)) = (extent.evaluate_every, extent.steps_done.checked_sub(1)) {
        let (_, records) = evaluation(plan, seed, last, &mut noise);
        let rollouts: Vec<RolloutRecord> = records.into_iter().take(40).map(|record| rollout(last, record)).collect();
        run.write_rollouts(last, &rollouts).expect("the rollouts are written");
    }
    run
}

/// An arm that ends below 0.7 collapses at step 40, that of seed 2 at step 50.
fn decline(plan: &ArmPlan, seed: u64, step: u64) -> Decline {
    let collapse_step = if seed == 2 { 50 } else { 40 };
    let collapsed = plan.accuracy < 0.7 && step >= collapse_step;
    Decline {
        best_step: 20,
        accuracy_fall: if collapsed { 0.125 } else { 0.01 },
        accuracy_fall_error: 0.02,
        completion_tokens_fall: if collapsed { 4.5 } else { 0.5 },
        completion_tokens_fall_error: 0.3,
        collapsed,
        collapse_step: collapsed.then_some(collapse_step),
    }
}

fn rollout(step: u64, record: EvaluationRecord) -> RolloutRecord {
    RolloutRecord {
        step,
        group: 0,
        rollout: record.sample,
        problem: record.problem,
        level: record.level,
        question: record.question,
        gold: record.gold,
        completion: record.completion,
        completion_tokens: record.completion_tokens,
        stop: record.stop,
        verdict: record.verdict,
        answer: record.answer,
        selected: false,
        reward: 0.0,
        advantage: 0.0,
        behavior_logprob_nats: -3.0,
    }
}

/// How far an arm has come at `step`: 0 at the start, 1 at the end, most of it between steps 20 and 50.
fn progress(step: u64) -> f64 {
    let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
    let at = |step: f64| logistic((step - 32.0) / 8.0);
    ((at(step as f64) - at(0.0)) / (at(70.0) - at(0.0))).min(1.0)
}

fn metrics(plan: &ArmPlan, step: u64, noise: &mut Noise) -> StepMetrics {
    let come = progress(step);
    let early_gain = 0.1 * (step as f64 / 20.0).min(1.0) * (1.0 - come);
    let accuracy = noise.about(0.84 + early_gain + (plan.accuracy - 0.84) * come, 0.04).clamp(0.0, 1.0);
    let tokens = noise.about(22.8 + (plan.tokens - 22.8) * come, 1.0);
    let collapse = (0.9 - plan.accuracy).max(0.0) * come;
    let seconds = PhaseSeconds { sample: 0.21, shape: 0.002, update: 0.24, total: 0.455 };
    let all_correct = (0.3 + 0.45 * come * plan.accuracy - collapse).clamp(0.0, 1.0);
    StepMetrics {
        step,
        reward_mean: accuracy * 0.95,
        reward_std: 0.3,
        correctness_ratio: accuracy,
        all_correct_share: (noise.about(all_correct, 0.15) * 16.0).round() / 16.0,
        all_wrong_share: (collapse * 16.0).round() / 16.0,
        zero_advantage_share: 0.2,
        dynamic_sampling: None,
        selection: SelectionMetrics {
            groups: (0..(plan.selected * 16.0).round() as u32).collect(),
            share: (plan.selected * 16.0).round() / 16.0,
            all_correct: 3,
            tied: 7,
            ratio_min: Some(1.0),
        },
        shapers: Vec::new(),
        length_correctness_correlation: (step % 9 != 4).then(|| noise.about(0.5 - 0.3 * come + collapse * 3.0, 0.2)),
        signals: Some(SignalMetrics {
            all_correct_length_spread: (step % 11 != 5).then(|| noise.about(0.25 * (1.0 - come), 0.05).max(0.0)),
            all_correct_advantage_share: (step % 11 != 5).then_some(plan.selected * 0.6),
            within_correctness_advantage_share: Some(plan.selected * 0.7),
            length_advantage_correlation: Some(noise.about(0.3 - plan.selected, 0.2)),
            shortest_quarter_gain: (step % 9 != 4).then(|| noise.about(-0.2 * (1.0 - come), 0.1)),
            level_correctness_ratios: LEVELS.map(|level| (level.to_string(), accuracy)).into(),
        }),
        warning: None,
        completion_tokens: TokenStatistics {
            mean: tokens,
            min: 8,
            max: 80,
            correct_mean: Some(tokens),
            wrong_mean: None,
        },
        truncated_share: noise.about(0.002 * (1.0 - come), 0.002).max(0.0),
        entropy_nats: noise.about(0.065 - 0.022 * come * plan.accuracy + collapse * 0.03, 0.006),
        kl_nats: None,
        ratio_min: 0.98,
        ratio_mean: 1.0,
        ratio_max: 1.02,
        clip_share: 0.0,
        loss: -0.01,
        gradient_norm: noise.about(0.35, 0.25),
        learning_rate: 5e-4,
        tokens: (tokens * 256.0) as u64,
        sample_tokens_per_second: tokens * 256.0 / seconds.sample,
        update_tokens_per_second: tokens * 256.0 / seconds.update,
        seconds,
    }
}

fn evaluation(plan: &ArmPlan, seed: u64, step: u64, noise: &mut Noise) -> (EvaluationSummary, Vec<EvaluationRecord>) {
    let come = progress(step);
    let early_gain = 0.1 * (step as f64 / 20.0).min(1.0) * (1.0 - come);
    let tilt = noise.about(0.0, 0.04);
    let mut records = Vec::new();
    for level in LEVELS {
        let hardness = (f64::from(level) - 5.0) * 0.06 * (1.0 - plan.accuracy * come);
        let accuracy = 0.84 + tilt + early_gain + (plan.accuracy - 0.84) * come - hardness;
        let tokens = (22.8 + (plan.tokens - 22.8) * come) / 19.0 * (f64::from(level) * 3.0 + 4.0);
        for index in 0..PROBLEMS_PER_LEVEL {
            records.push(record(
                level,
                index,
                if noise.next() < accuracy { Verdict::Correct } else { Verdict::Incorrect },
                noise.about(tokens, 4.0),
            ));
        }
    }
    (summary(seed, step, &records), records)
}

fn record(level: u32, index: u32, verdict: Verdict, tokens: f64) -> EvaluationRecord {
    let rolls: Vec<String> = (0..level).map(|roll| format!("+{}", (roll * 7 + index) % 6 + 1)).collect();
    let gold = (index * 5 + level) % 12;
    let answer = if verdict.is_correct() { gold } else { (gold + 5) % 12 };
    let body: Vec<String> =
        ('a'..='h').take(level as usize).map(|label| format!("{label} {} {}", index % 12, answer)).collect();
    let hostile = if index.is_multiple_of(3) { " <script>alert(1)</script>\u{1b}[31m\u{202e}evil" } else { "" };
    EvaluationRecord {
        problem: format!("ring-{level}-{index:03}"),
        sample: 0,
        level: Some(level.to_string()),
        question: format!("{} {} . . :", index % 12, rolls.join(" ")),
        gold: gold.to_string(),
        completion: format!("<c> {} A {answer}{hostile}", body.join(" ")),
        completion_tokens: tokens.max(5.0) as u32,
        stop: StopReason::End,
        verdict,
        answer: Some(answer.to_string()),
        reason: if verdict.is_correct() { "equal".to_owned() } else { format!("{answer} is not {gold}") },
        tokens_from: TokenSource::Engine,
        prefixes: Some(PrefixVerdicts {
            budgets: Vec::new(),
            first_correct_tokens: verdict.is_correct().then_some(4),
            first_correct_bytes: verdict.is_correct().then_some("<c> a".len() as u32),
        }),
    }
}

/// Accuracy under a smaller token limit.
fn within(records: &[EvaluationRecord], budget_tokens: u32) -> BudgetSummary {
    let ended = |record: &&EvaluationRecord| record.is_correct() && record.completion_tokens <= budget_tokens;
    let accuracy = records.iter().filter(ended).count() as f64 / records.len() as f64;
    BudgetSummary { budget_tokens, accuracy, accuracy_error: 0.02, accuracy_cut: None, accuracy_cut_error: None }
}

fn summary(seed: u64, step: u64, records: &[EvaluationRecord]) -> EvaluationSummary {
    let share = |records: &[&EvaluationRecord]| {
        records.iter().filter(|record| record.is_correct()).count() as f64 / records.len() as f64
    };
    let length = |records: &[&EvaluationRecord]| {
        records.iter().map(|record| f64::from(record.completion_tokens)).sum::<f64>() / records.len() as f64
    };
    let all: Vec<&EvaluationRecord> = records.iter().collect();
    let level = |level: u32| {
        let of_level: Vec<&EvaluationRecord> =
            records.iter().filter(|record| record.level == Some(level.to_string())).collect();
        LevelSummary {
            level: level.to_string(),
            problems: PROBLEMS_PER_LEVEL,
            accuracy: share(&of_level),
            completion_tokens: length(&of_level),
        }
    };
    let accuracy = share(&all);
    let error = (accuracy * (1.0 - accuracy) / all.len() as f64).sqrt();
    EvaluationSummary {
        step,
        benchmark: BENCHMARK.to_owned(),
        problems: all.len() as u32,
        samples: 1,
        temperature: 1.0,
        top_p: 1.0,
        completion_tokens_max: 80,
        seed,
        accuracy,
        accuracy_error: error,
        accuracy_low: accuracy - 1.96 * error,
        accuracy_high: accuracy + 1.96 * error,
        accuracy_bootstrap_low: accuracy - 1.96 * error,
        accuracy_bootstrap_high: accuracy + 1.96 * error,
        pass: Vec::new(),
        completion_tokens: length(&all),
        completion_tokens_error: 0.4,
        lengths: Lengths {
            all: LengthSummary { completions: all.len() as u32, mean: length(&all), median: length(&all), p95: 40.0 },
            correct: None,
            wrong: None,
        },
        truncated_share: 0.0,
        no_answer_share: 0.0,
        verdicts: BTreeMap::new(),
        budgets: [20, 40, 80].map(|budget| within(records, budget)).to_vec(),
        first_correct: None,
        levels: LEVELS.into_iter().map(level).collect(),
        decline: None,
    }
}
