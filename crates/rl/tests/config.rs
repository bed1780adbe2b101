//! Configs: what is refused and in which words, and what a setting is when nothing is said.

use rl::{
    RlError,
    advantage::AdvantageScale,
    config::{EvaluationConfig, RunConfig, Truncated, parse_config, read_config},
    loss::{Aggregation, LossSettings, Surrogate},
    optimizer::{OptimizerSettings, Schedule},
    sft::SftConfig,
    shaping::{LengthPenalty, LengthStd, Shaping, TieBreak, TopLambda, Which},
};

/// The shortest config: what has no default.
const SHORTEST: &str = r#"[model]
path = "model"

[problems]
path = "problems.jsonl"

[rollout]
prompts_per_step = 8
group_size = 4
completion_tokens_max = 100

[train]
steps = 10

[train.shaping.top-lambda]
"#;

fn parse(text: &str, changes: &[&str]) -> Result<RunConfig, String> {
    parse_config(text, &changes.iter().map(ToString::to_string).collect::<Vec<_>>())
}

fn assert_refused(error: &str, fragments: &[&str]) {
    for fragment in fragments {
        assert!(error.contains(fragment), "`{fragment}` is not in:\n{error}");
    }
}

#[test]
fn a_text_that_is_not_a_config_is_refused_with_line_and_setting() {
    let cases: [(&str, &str, &[&str]); 10] = [
        ("group_size = 4", "grop_size = 4", &["line 9", "grop_size", "unknown field", "`group_size`"]),
        ("group_size = 4", "group_size = 4.5", &["line 9", "`rollout.group_size`", "floating point `4.5`"]),
        ("group_size = 4", "group_size = -4", &["line 9", "`rollout.group_size`", "`-4`"]),
        ("group_size = 4", "", &["`rollout`", "missing field `group_size`"]),
        ("group_size = 4", "group_size =", &["line 9"]),
        ("path = \"model\"", "path = 1", &["line 2", "`model.path`", "integer `1`", "expected a string"]),
        (
            "[train.shaping.top-lambda]",
            "[train.shaping.top-lamda]",
            &["line 15", "unknown variant `top-lamda`", "`top-lambda`"],
        ),
        (
            "[train.shaping.top-lambda]",
            "[train.shaping.grpo]\nalpha = 1",
            &["line 16", "unexpected keys in table: alpha"],
        ),
        (
            "[train]\nsteps = 10\n",
            "[model.lora]\ntargets = [\"query\"]\n[train]\nsteps = 10\n",
            &["`model.lora.targets[0]`", "unknown variant `query`", "`q_proj`", "`down_proj`"],
        ),
        ("[train]\nsteps = 10\n", "", &["`train`", "missing field `steps`"]),
    ];
    for (from, to, fragments) in cases {
        assert!(SHORTEST.contains(from));
        assert_refused(&parse(&SHORTEST.replace(from, to), &[]).unwrap_err(), fragments);
    }
    assert_refused(&parse("", &[]).unwrap_err(), &["missing field `model`"]);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("config.toml");
    let error = read_config::<RunConfig>(&path, &[]).unwrap_err();
    assert_refused(&error.to_string(), &["cannot read the config", "config.toml"]);
    record::write::replace(&path, b"seed = true").unwrap();
    let error = read_config::<RunConfig>(&path, &[]).unwrap_err();
    assert!(matches!(error, RlError::File { .. }), "{error}");
    assert_refused(&error.to_string(), &["config.toml: setting `seed`", "boolean `true`"]);
}

#[test]
fn a_value_out_of_range_is_refused_with_setting_value_and_range() {
    let cases = [
        ("model.lora={rank=0}", "`model.lora.rank` is 0; it must be between 1 and 4096"),
        ("model.lora={alpha=0.0}", "`model.lora.alpha` is 0; it must be above 0 and at most 1000000"),
        ("model.lora={alpha=nan}", "`model.lora.alpha` is NaN"),
        (
            "model.lora={targets=[]}",
            "`model.lora.targets` is empty; name some of q_proj, k_proj, v_proj, o_proj, gate_proj",
        ),
        ("model.lora={targets=[\"up_proj\",\"up_proj\"]}", "`model.lora.targets` names up_proj twice; name it once"),
        ("arm=\"../x\"", "`arm` is \"../x\", which is no file name; use letters, digits, `-` and `_`"),
        ("arm=\"..\"", "`arm` is \"..\", which is no file name"),
        ("rollout.prompts_per_step=0", "`rollout.prompts_per_step` is 0; it must be between 1 and 1048576"),
        ("rollout.group_size=1", "`rollout.group_size` is 1; it must be between 2 and 65536"),
        ("rollout.completion_tokens_max=0", "`rollout.completion_tokens_max` is 0; it must be between 1 and 16777216"),
        ("rollout.sequences_max=0", "`rollout.sequences_max` is 0; it must be between 1 and 1048576"),
        ("rollout.temperature=0.0", "`rollout.temperature` is 0; it must be between 0.001 and 100"),
        ("rollout.temperature=nan", "`rollout.temperature` is NaN"),
        ("verifier.extraction={marker={marker=''}}", "`verifier.extraction` has the marker \"\", which is never found"),
        ("verifier.extraction.marker.marker='A '", "`verifier.extraction` has the marker \"A \", which is never found"),
        ("prompt={template='plain',system='Be brief.'}", "`prompt.system` is read by a chat template"),
        ("prompt.prompt_tokens_max=0", "`prompt.prompt_tokens_max` is 0; it must be between 1 and 16777216"),
        ("train.micro_batch_tokens=0", "`train.micro_batch_tokens` is 0; it must be between 1 and 1073741824"),
        ("train.passes=0", "`train.passes` is 0; it must be between 1 and 1024"),
        ("threads=5000", "`threads` is 5000; it must be between 0 and 4096"),
        ("train.optimizer.learning_rate=-1.0", "`train.optimizer.learning_rate` is -1; it must be between 0 and 10"),
        ("train.optimizer.beta1=1.0", "`train.optimizer.beta1` is 1; it must be between 0 and 0.999999"),
        ("train.optimizer.beta2=1.0", "`train.optimizer.beta2` is 1; it must be between 0 and 0.999999"),
        ("train.optimizer.epsilon=0.0", "`train.optimizer.epsilon` is 0; it must be between"),
        ("train.optimizer.weight_decay=-0.1", "`train.optimizer.weight_decay` is -0.1; it must be between 0 and 100"),
        ("train.optimizer.gradient_norm_max=-1.0", "`train.optimizer.gradient_norm_max` is -1; it must be between 0"),
        ("train.loss.clip_low=1.5", "`train.loss.clip_low` is 1.5; it must be between 0 and 1"),
        ("train.loss.clip_high=-0.1", "`train.loss.clip_high` is -0.1; it must be between 0 and 1000000"),
        ("train.loss.kl_weight=-1.0", "`train.loss.kl_weight` is -1; it must be between 0 and 1000000"),
        (
            "train.shaping={top-lambda={lambda=1.1}}",
            "`train.shaping.top-lambda.lambda` is 1.1; it must be between 0 and 1",
        ),
        ("train.shaping={top-lambda={alpha=-0.1}}", "`train.shaping.top-lambda.alpha` is -0.1"),
        (
            "train.shaping={top-lambda={correctness_ratio_min=2.0}}",
            "`train.shaping.top-lambda.correctness_ratio_min` is 2",
        ),
        ("train.shaping={length-penalty={alpha=1.5}}", "`train.shaping.length-penalty.alpha` is 1.5"),
        ("train.shaping={kimi={weight=-1.0}}", "`train.shaping.kimi.weight` is -1; it must be between 0 and 1000000"),
        ("train.shaping={cosine={correct_long=3.0}}", "`train.shaping.cosine.correct_long` is 3; it must be between"),
        (
            "train.shaping={soft-overlong={}}",
            "`train.shaping.soft-overlong.buffer` is 4096; it must be between 1 and 100",
        ),
        ("train.shaping={laser-d={}}", "`train.shaping.laser-d.target_min` is 4096; it must be between 0 and 100"),
        ("train.shaping={acoer={alpha=0.9}}", "`train.shaping.acoer.alpha` is 0.9; it must be between 0.01 and 0.5"),
        ("train.dynamic_sampling={rounds_max=0}", "`train.dynamic_sampling.rounds_max` is 0; it must be between 1"),
        (
            "problems.budget={tokens_min=10,tokens_max=101}",
            "`problems.budget.tokens_max` is 101; it must be at most `rollout.completion_tokens_max`, 100",
        ),
        ("problems.budget={tokens_min=0}", "`problems.budget.tokens_min` is 0; it must be between 1"),
    ];
    for (change, expected) in cases {
        assert_setting_refused(change, expected);
    }
    parse(SHORTEST, &[]).unwrap().check().unwrap();
}

fn assert_setting_refused(change: &str, expected: &str) {
    let error = parse(SHORTEST, &[change]).expect("a config").check().expect_err(change);
    assert!(matches!(error, RlError::Setting { .. }), "{change}: {error}");
    assert_refused(&error.to_string(), &[expected]);
}

#[test]
fn settings_of_the_adaptive_lambda_out_of_range_are_refused() {
    for (settings, expected) in [
        ("lambda_max=1.5", "`train.shaping.adaptive-lambda.lambda_max` is 1.5; it must be between 0 and 1"),
        ("lambda=0.4,lambda_max=0.3", "`train.shaping.adaptive-lambda.lambda` is 0.4; it must be between 0 and 0.3"),
        ("lambda_min=-0.1", "`train.shaping.adaptive-lambda.lambda_min` is -0.1; it must be between 0 and 1"),
        ("lambda_fall=1.5", "`train.shaping.adaptive-lambda.lambda_fall` is 1.5"),
        ("lambda_rise=-0.5", "`train.shaping.adaptive-lambda.lambda_rise` is -0.5"),
        (
            "hold_errors=3.0,fallen_errors=2.0",
            "`train.shaping.adaptive-lambda.hold_errors` is 3; it must be between 0 and 2",
        ),
        ("fallen_errors=-2.0", "`train.shaping.adaptive-lambda.fallen_errors` is -2"),
        ("recent_steps=0.5", "`train.shaping.adaptive-lambda.recent_steps` is 0.5"),
        (
            "recent_steps=9.0,trailing_steps=8.0",
            "`train.shaping.adaptive-lambda.trailing_steps` is 8; it must be between 9 and",
        ),
        ("alpha=1.5", "`train.shaping.adaptive-lambda.alpha` is 1.5"),
    ] {
        assert_setting_refused(&format!("train.shaping={{adaptive-lambda={{{settings}}}}}"), expected);
    }
}

#[test]
fn settings_that_contradict_each_other_are_refused_with_the_reason() {
    for (changes, expected) in [
        (
            vec!["train.dynamic_sampling={}"],
            "`train.dynamic_sampling` replaces the groups in which every completion is correct, and those are what \
             `top-lambda` selects first; leave out one of the two",
        ),
        (
            vec!["rollout.prompts_per_step=1", "train.shaping={adaptive-lambda={}}"],
            "`rollout.prompts_per_step` is 1, and `adaptive-lambda` compares accuracies by their spread between groups; \
             use at least 2",
        ),
        (
            vec!["train.dynamic_sampling={}", "train.shaping={weighted={objectives=[{shaper={matched-penalty={}}}]}}"],
            "those are what `matched-penalty` selects first",
        ),
        (vec!["train.shaping={l1-exact={}}"], "`train.shaping.l1-exact` compares lengths with a budget"),
        (vec!["train.shaping={l1-max={}}"], "add the table `[problems.budget]`"),
        (
            vec!["train.shaping={dler={}}", "train.advantage=whitened"],
            "`train.shaping.dler.cost_max` is 4000; the truncation is all of DLER's length pressure, so it must be above \
             0 and at most the limit of completions, 100",
        ),
        (
            vec!["train.shaping={dler={cost_max=50}}"],
            "`train.advantage` is not \"whitened\", which DLER is defined with",
        ),
        (
            vec!["train.loss={surrogate='gspo',aggregation='token-mean'}"],
            "`train.loss.aggregation` must be \"sequence-mean\" with the surrogate \"gspo\"",
        ),
        (vec!["train.loss={surrogate='gspo',aggregation='constant'}"], "its ratio is one number for a completion"),
        (vec!["train.shaping={weighted={objectives=[]}}"], "`train.shaping.weighted.objectives` is empty"),
        (
            vec!["train.shaping={weighted={objectives=[{cost='waits',shaper={kimi={}}}]}}"],
            "has the cost \"waits\", which is neither \"tokens\" nor in `[train.costs]`",
        ),
        (
            vec!["train.shaping={weighted={objectives=[{shaper={weighted={objectives=[]}}}]}}"],
            "has objectives within an objective",
        ),
        (
            vec![
                "train.costs={steps={paragraphs={}}}",
                "train.shaping={weighted={objectives=[{cost='steps',shaper={cosine={}}}]}}",
            ],
            "`train.shaping.cosine.cost_max` is not given, and only tokens have a limit",
        ),
        (vec!["train.costs={tokens={lines={}}}"], "`train.costs` defines \"tokens\", which is there already"),
        (vec!["train.costs={waits={occurrences={of=''}}}"], "`train.costs` counts occurrences of an empty text"),
    ] {
        let error = parse(SHORTEST, &changes).unwrap().check().unwrap_err();
        assert!(matches!(error, RlError::Setting { .. }), "{changes:?}: {error}");
        assert_refused(&error.to_string(), &[expected]);
    }
    for changes in [
        vec!["train.shaping={dler={cost_max=50}}", "train.advantage=whitened", "train.dynamic_sampling={}"],
        vec!["train.shaping={l1-max={}}", "problems.budget={tokens_min=10,tokens_max=100}"],
        vec!["train.loss={surrogate='cispo',aggregation='constant'}"],
    ] {
        parse(SHORTEST, &changes).unwrap().check().unwrap();
    }
}

#[test]
fn settings_of_an_evaluation_out_of_range_are_refused() {
    for (change, expected) in [
        ("evaluation={every_steps=0,path=\"e\"}", "`evaluation.every_steps` is 0; leave out [evaluation]"),
        (
            "evaluation={every_steps=1,path=\"e\",samples=0}",
            "`evaluation.samples` is 0; it must be between 1 and 65536",
        ),
        ("evaluation={every_steps=1,path=\"e\",samples=65537}", "`evaluation.samples` is 65537; it must be between 1"),
        (
            "evaluation={every_steps=1,path=\"e\",completion_tokens_max=0}",
            "`evaluation.completion_tokens_max` is 0; it must be between 1 and 16777216",
        ),
        (
            "evaluation={every_steps=1,path=\"e\",completion_tokens_max=4294967296}",
            "`evaluation.completion_tokens_max` is 4294967296; it must be between 1 and 16777216",
        ),
        ("evaluation={every_steps=1,path=\"e\",temperature=-1.0}", "`evaluation.temperature` is -1; it must be 0, or"),
        (
            "evaluation={every_steps=1,path=\"e\",temperature=1e-4}",
            "`evaluation.temperature` is 0.0001; it must be 0, or",
        ),
    ] {
        assert_setting_refused(change, expected);
    }
}

#[test]
fn dynamic_sampling_is_refused_beside_a_shaper_that_follows_the_accuracy() {
    for (shaper, settings) in [("adaptive-lambda", ""), ("acoer", ""), ("short-rl", "cost_tolerance=9")] {
        let shaping = format!("train.shaping={{{shaper}={{{settings}}}}}");
        parse(SHORTEST, &[&shaping]).unwrap().check().unwrap();
        let error = parse(SHORTEST, &[&shaping, "train.dynamic_sampling={}"]).unwrap().check().unwrap_err();
        let expected = format!(
            "`train.dynamic_sampling` replaces groups by their correctness, and the accuracy that `{shaper}` follows would \
             not be the policy's; leave out one of the two"
        );
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn settings_that_leave_a_shaper_without_effect_are_refused_with_the_reason() {
    for (changes, expected) in [
        (
            vec!["train.shaping={laser={}}"],
            "`train.shaping.laser.target` is 4096, and every correct completion would get the bonus; set it below the \
             limit of completions, 100",
        ),
        (vec!["train.shaping={laser={target=100}}"], "`train.shaping.laser.target` is 100, and every"),
        (
            vec!["train.shaping={short-rl={cost_tolerance=100}}"],
            "`train.shaping.short-rl.cost_tolerance` is 100, and no correct completion would lose anything; set it below \
             the limit of completions, 100",
        ),
        (
            vec!["train.shaping={top-lambda={correct_min=5}}"],
            "`train.shaping.top-lambda.correct_min` is 5, and no group would ever be selected; set it to at most the \
             completions of a group, 4",
        ),
        (
            vec!["train.shaping={dler={cost_max=100}}", "train.advantage=whitened", "train.truncated=drop"],
            "`train.shaping.dler.cost_max` is 100, the limit of completions, and `train.truncated` = \"drop\" leaves those \
             cut there out of the loss, so that nothing would press on length; lower it, or set `train.truncated` to \
             \"wrong\"",
        ),
    ] {
        let error = parse(SHORTEST, &changes).unwrap().check().unwrap_err();
        assert!(matches!(error, RlError::Setting { .. }), "{changes:?}: {error}");
        assert_refused(&error.to_string(), &[expected]);
    }
    for changes in [
        vec!["train.shaping={laser={target=99}}", "train.dynamic_sampling={}"],
        // Other costs than tokens have no limit that a target could be at.
        vec![
            "train.costs={steps={paragraphs={}}}",
            "train.shaping={weighted={objectives=[{cost='steps',shaper={laser={}}}]}}",
        ],
        vec!["train.shaping={short-rl={cost_tolerance=99}}"],
        vec!["train.shaping={top-lambda={correct_min=4}}"],
        vec!["train.shaping={dler={cost_max=100}}", "train.advantage=whitened"],
        vec!["train.shaping={dler={cost_max=99}}", "train.advantage=whitened", "train.truncated=drop"],
    ] {
        parse(SHORTEST, &changes).unwrap().check().unwrap();
    }
}

#[test]
fn checkpoints_to_keep_that_would_not_be_written_are_refused_with_a_remedy() {
    let evaluated = "evaluation={every_steps=20,path='e'}";
    for (changes, expected) in [
        (vec!["checkpoint.keep_best=1"], "`checkpoint.keep_best` is 1, and nothing is evaluated; add [evaluation]"),
        (
            vec!["checkpoint.keep_best=2", evaluated],
            "`checkpoint.keep_best` is 2, and neither of `checkpoint.every_steps`, 50, and `evaluation.every_steps`, 20, is \
             a multiple of the other: they meet seldom; set `checkpoint.every_steps` to 20",
        ),
        (
            vec!["checkpoint={keep_best=1,every_steps=0}", evaluated],
            "`checkpoint.keep_best` is 1, and `checkpoint.every_steps` is 0, which writes one at the end only; set it to 20",
        ),
        (
            vec!["checkpoint.keep_every_steps=30"],
            "`checkpoint.keep_every_steps` is 30, and neither of `checkpoint.every_steps`, 50, and \
             `checkpoint.keep_every_steps`, 30, is a multiple of the other: they meet seldom; set \
             `checkpoint.every_steps` to 30",
        ),
        (
            vec!["checkpoint={keep_every_steps=30,every_steps=0}"],
            "`checkpoint.keep_every_steps` is 30, and `checkpoint.every_steps` is 0, which writes one at the end only; set \
             it to 30",
        ),
    ] {
        let error = parse(SHORTEST, &changes).unwrap().check().unwrap_err();
        assert!(matches!(error, RlError::Setting { .. }), "{changes:?}: {error}");
        assert_eq!(error.to_string(), expected);
    }
    for checkpoint in [
        "{keep_best=1,every_steps=20}",
        "{keep_best=1,every_steps=5}",
        "{keep_best=1,every_steps=40}",
        "{keep_every_steps=60,every_steps=20}",
        "{keep_every_steps=10,every_steps=20}",
        "{every_steps=0}",
        "{every_steps=7}",
    ] {
        parse(SHORTEST, &[&format!("checkpoint={checkpoint}"), evaluated]).unwrap().check().expect(checkpoint);
    }
}

#[test]
fn what_a_loss_leaves_out_is_as_its_surrogate_has_it() {
    let loss = |changes: &[&str]| parse(SHORTEST, changes).unwrap().train.loss;
    assert_eq!(loss(&["train.loss.surrogate=gspo"]), LossSettings::of(Surrogate::Gspo));
    assert_eq!(
        loss(&["train.loss={surrogate='cispo',clip_high=1.0,kl_weight=0.5}"]),
        LossSettings { clip_high: 1.0, kl_weight: 0.5, ..LossSettings::of(Surrogate::Cispo) }
    );
    let error = parse(SHORTEST, &["train.loss={surrogate='gspo',clip=1.0}"]).unwrap_err();
    assert_refused(&error, &["`train.loss", "unknown field `clip`"]);
}

#[test]
fn settings_from_the_command_line_replace_those_of_the_file() {
    let config = parse(SHORTEST, &["seed=9", "model.path=models/tiny", "train.loss.clip_high = 0.28"]).unwrap();
    assert_eq!((config.seed, config.model.path.as_str()), (9, "models/tiny"));
    assert_eq!(config.train.loss, LossSettings { clip_high: 0.28, ..LossSettings::default() });
    for (change, fragments) in [
        ("seed", ["--set seed has no `=`", "write --set section.key=value"]),
        ("rollout.grop_size=1", ["`rollout.grop_size`", "unknown field"]),
        ("train.steps=ten", ["`train.steps`", "\"ten\""]),
    ] {
        let error = parse(SHORTEST, &[change]).unwrap_err();
        assert_refused(&error, &fragments);
        assert!(!error.contains('\n'), "no line of a file is shown, and the setting is named before: {error}");
    }
    let error = parse(&format!("seed = 1\n{SHORTEST}"), &["seed.more=1"]).unwrap_err();
    assert_refused(&error, &["--set seed.more=1: `seed` is a value, not a section"]);
}

#[test]
fn the_resolved_config_reads_as_the_same_config() {
    for changes in [
        vec![],
        vec!["arm=mine", "seed=7", "train.truncated=drop", "problems.order=file", "train.schedule.decay=cosine"],
        vec!["train.shaping={grpo={}}", "verifier={extraction={marker={marker=\"A\"}}}", "problems.fields.level=l"],
        vec![
            "train.loss.surrogate=gspo",
            "train.dynamic_sampling={}",
            "problems.budget={}",
            "train.costs={steps={paragraphs={}},waits={occurrences={of='Wait'}}}",
            "train.shaping={weighted={objectives=[{cost='steps',weight=0.5,shaper={kimi={}}},{shaper={acoer={}}}]}}",
        ],
        vec!["evaluation={every_steps=3,path=\"e.jsonl\",name=\"e\",completion_tokens_max=9}"],
    ] {
        let config = parse(SHORTEST, &changes).unwrap();
        let text = config.to_toml();
        assert_eq!(parse(&text, &[]).unwrap(), config, "{text}");
        assert!(text.contains("clip_high = "), "defaults are written out:\n{text}");
    }
}

#[test]
fn what_is_not_said_is_as_the_paper_has_it() {
    let config = parse(SHORTEST, &[]).unwrap();
    assert_eq!((config.arm(), config.seed), ("top-lambda", 0));
    // arXiv 2505.18086: λ = 20 %, α = 0.2; ties and the standard deviation are not said there.
    let top_lambda = TopLambda {
        lambda: 0.2,
        alpha: 0.2,
        length_std: LengthStd::Population,
        select: Which::Top,
        ties: TieBreak::Random,
        correctness_ratio_min: 0.0,
        correct_min: 0,
    };
    assert_eq!(config.train.shaping, Shaping::TopLambda(top_lambda));
    assert_eq!(LengthPenalty::default(), LengthPenalty { alpha: 0.2, length_std: LengthStd::Population });
    let loss = LossSettings {
        surrogate: Surrogate::Grpo,
        clip_low: 0.2,
        clip_high: 0.2,
        kl_weight: 0.0,
        aggregation: Aggregation::SequenceMean,
    };
    assert_eq!((&config.train.loss, config.train.advantage), (&loss, AdvantageScale::GroupStd));
    assert_eq!((config.train.truncated, config.train.passes), (Truncated::Wrong, 1));
    let optimizer = OptimizerSettings {
        learning_rate: 1e-6,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weight_decay: 0.0,
        gradient_norm_max: 1.0,
    };
    assert_eq!((&config.train.optimizer, &config.train.schedule), (&optimizer, &Schedule::default()));
    assert_eq!(
        (config.rollout.temperature.to_bits(), config.evaluation),
        (1.0_f64.to_bits(), None::<EvaluationConfig>)
    );
}

#[test]
fn fine_tuning_refuses_what_is_out_of_range() {
    let text = "model.path = \"m\"\ndemonstrations.path = \"d\"\ntrain = { steps = 1, batch_size = 2 }\n";
    for (change, expected) in [
        ("train.batch_size=0", "`train.batch_size` is 0; it must be between 1 and 1048576"),
        ("train.batch_size=1048577", "`train.batch_size` is 1048577; it must be between 1 and 1048576"),
        ("train.micro_batch_tokens=0", "`train.micro_batch_tokens` is 0; it must be between 1 and 1073741824"),
        ("train.steps=1099511627777", "`train.steps` is 1099511627777; it must be between 0 and 1099511627776"),
        ("prompt.prompt_tokens_max=0", "`prompt.prompt_tokens_max` is 0; it must be between 1 and 16777216"),
        ("threads=5000", "`threads` is 5000; it must be between 0 and 4096"),
        ("train.optimizer.learning_rate=11.0", "`train.optimizer.learning_rate` is 11; it must be between 0 and 10"),
    ] {
        let config: SftConfig = parse_config(text, &[change.to_owned()]).unwrap();
        assert_refused(&config.check().unwrap_err().to_string(), &[expected]);
    }
    parse_config::<SftConfig>(text, &[]).unwrap().check().unwrap();
}
