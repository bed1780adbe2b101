//! A step's completions, rewards and update in, one line of `metrics.jsonl` out.

use record::{DynamicSamplingMetrics, PhaseSeconds, SelectionMetrics, StepMetrics, StopReason, TokenStatistics};

use crate::{
    score::ScoredCompletion,
    shaping::{Outcome, Shaped},
    signals::signals,
    statistics::{correlation_within_groups, mean, population_standard_deviation},
    update::UpdateSummary,
};

/// What a step's metrics are made of.
pub struct StepView<'a> {
    /// The step.
    pub step: u64,
    /// Difficulty levels of the groups' problems, where they have one.
    pub levels: &'a [Option<&'a str>],
    /// Completions by group.
    pub groups: &'a [Vec<ScoredCompletion>],
    /// Rewards and selection.
    pub shaped: &'a Shaped,
    /// Advantages by group.
    pub advantages: &'a [Vec<f64>],
    /// What the update came to.
    pub update: &'a UpdateSummary,
    /// Whether there is a reference.
    pub has_reference: bool,
    /// What dynamic sampling did, where it runs.
    pub dynamic_sampling: Option<DynamicSamplingMetrics>,
    /// Seconds by phase.
    pub seconds: PhaseSeconds,
}

/// The metrics of a step.
pub fn step_metrics(view: &StepView<'_>) -> StepMetrics {
    let StepView { groups, shaped, update, seconds, .. } = view;
    let outcomes: Vec<Vec<Outcome>> =
        groups.iter().map(|group| group.iter().map(ScoredCompletion::outcome).collect()).collect();
    let completions = || groups.iter().flatten();
    let count = completions().count() as f64;
    let tokens: u64 = completions().map(|scored| scored.completion.tokens.len() as u64).sum();
    let rewards: Vec<f64> = shaped.rewards.iter().flatten().copied().collect();
    let group_share = |holds: &dyn Fn(usize) -> bool| {
        (0..groups.len()).filter(|&index| holds(index)).count() as f64 / groups.len() as f64
    };
    let entropy: f64 = completions().map(|s| s.completion.entropy_nats * s.completion.tokens.len() as f64).sum();
    let trained = update.sum.tokens.max(1) as f64;
    let ratio = |value: f64| if update.sum.tokens == 0 { 1.0 } else { value };
    StepMetrics {
        step: view.step,
        reward_mean: mean(&rewards).unwrap_or(0.0),
        reward_std: population_standard_deviation(&rewards).unwrap_or(0.0),
        correctness_ratio: outcomes.iter().flatten().filter(|outcome| outcome.correct).count() as f64 / count,
        all_correct_share: group_share(&|index| outcomes[index].iter().all(|outcome| outcome.correct)),
        all_wrong_share: group_share(&|index| outcomes[index].iter().all(|outcome| !outcome.correct)),
        zero_advantage_share: group_share(&|index| view.advantages[index].iter().all(|advantage| *advantage == 0.0)),
        selection: selection_metrics(&outcomes, shaped),
        shapers: shaped.shapers.clone(),
        dynamic_sampling: view.dynamic_sampling,
        length_correctness_correlation: length_correctness_correlation(&outcomes),
        signals: Some(signals(view.levels, &outcomes, view.advantages)),
        warning: None,
        completion_tokens: token_statistics(&outcomes),
        truncated_share: completions().filter(|s| s.completion.stop == StopReason::Limit).count() as f64 / count,
        entropy_nats: entropy / tokens as f64,
        kl_nats: view.has_reference.then_some(update.sum.kl_nats / trained),
        ratio_min: ratio(update.sum.ratio_min),
        ratio_mean: ratio(update.sum.ratio / trained),
        ratio_max: ratio(update.sum.ratio_max),
        clip_share: update.sum.clipped as f64 / trained,
        loss: update.sum.loss,
        gradient_norm: update.gradient_norm,
        learning_rate: update.learning_rate,
        tokens,
        sample_tokens_per_second: tokens as f64 / seconds.sample.max(1e-9),
        update_tokens_per_second: tokens as f64 / seconds.update.max(1e-9),
        seconds: *seconds,
    }
}

/// Which groups were under length penalty, and how contested the choice was.
pub fn selection_metrics(outcomes: &[Vec<Outcome>], shaped: &Shaped) -> SelectionMetrics {
    let ratio = |group: &[Outcome]| group.iter().filter(|outcome| outcome.correct).count() as f64 / group.len() as f64;
    let selected = &shaped.selected;
    let ratios = selected.groups.iter().map(|&index| ratio(&outcomes[index]));
    SelectionMetrics {
        groups: selected.groups.iter().map(|&index| index as u32).collect(),
        share: selected.groups.len() as f64 / outcomes.len() as f64,
        all_correct: selected.all_correct as u32,
        tied: selected.tied as u32,
        ratio_min: ratios.min_by(f64::total_cmp),
    }
}

/// Pearson correlation of tokens and correctness within the groups that hold both outcomes; `None` where there is none.
pub fn length_correctness_correlation(outcomes: &[Vec<Outcome>]) -> Option<f64> {
    let mixed = |group: &&Vec<Outcome>| group.iter().any(|o| o.correct) && group.iter().any(|o| !o.correct);
    let pair = |outcome: &Outcome| (f64::from(outcome.tokens), f64::from(u8::from(outcome.correct)));
    let groups: Vec<Vec<(f64, f64)>> =
        outcomes.iter().filter(mixed).map(|group| group.iter().map(pair).collect()).collect();
    correlation_within_groups(&groups)
}

/// Completion lengths by outcome.
pub fn token_statistics(outcomes: &[Vec<Outcome>]) -> TokenStatistics {
    let tokens = |keep: &dyn Fn(&Outcome) -> bool| -> Vec<f64> {
        outcomes.iter().flatten().filter(|outcome| keep(outcome)).map(|outcome| f64::from(outcome.tokens)).collect()
    };
    let extremes = outcomes.iter().flatten().map(|outcome| outcome.tokens);
    TokenStatistics {
        mean: mean(&tokens(&|_| true)).unwrap_or(0.0),
        min: extremes.clone().min().unwrap_or(0),
        max: extremes.max().unwrap_or(0),
        correct_mean: mean(&tokens(&|outcome| outcome.correct)),
        wrong_mean: mean(&tokens(&|outcome| !outcome.correct)),
    }
}
