//! Completions in, scored completions out: text, verdict, and what shaping needs to know.

use std::borrow::Cow;

use model::Tokenizer;
use record::StopReason;
use verify::{Check, Extraction, Gold, check, ends_turn};

use crate::{
    prompt::{Opening, Prompt},
    sampler::Completion,
    shaping::Outcome,
};

/// A completion with the verifier's verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredCompletion {
    /// What was sampled.
    pub completion: Completion,
    /// Its text, without special tokens.
    pub text: String,
    /// What the verifier decided.
    pub check: Check,
}

impl ScoredCompletion {
    /// Decodes and verifies `completion`, of which what precedes the first token that ends a turn counts.
    pub fn new(completion: Completion, prompt: &Prompt, tokenizer: &Tokenizer, extraction: &Extraction) -> Self {
        let text = tokenizer.decode(&completion.tokens);
        let turn = &completion.tokens[..turn_tokens(&completion.tokens, tokenizer)];
        let goes_on = turn.len() + 1 < completion.tokens.len();
        let said = if goes_on { Cow::Owned(tokenizer.decode(turn)) } else { Cow::Borrowed(&text) };
        let check = judge(&said, prompt.opening, &prompt.gold, extraction);
        Self { completion, text, check }
    }

    /// Correctness and length: a truncated completion is wrong whatever its text says (arXiv 2502.04463's code).
    pub fn outcome(&self) -> Outcome {
        Outcome {
            correct: self.check.verdict.is_correct() && self.completion.stop == StopReason::End,
            tokens: self.completion.tokens.len() as u32,
        }
    }
}

/// What the verifier decides on `text` with this opening.
pub fn judge(text: &str, opening: Opening, gold: &Gold, extraction: &Extraction) -> Check {
    if opening == Opening::Thoughts && !text.contains("</think>") {
        return check(&format!("<think>{text}"), gold, extraction);
    }
    check(text, gold, extraction)
}

/// Tokens before the first one that ends a turn: a model may write on where that is none of its end tokens, as base models
/// do with chat templates that they were not made with.
pub(crate) fn turn_tokens(tokens: &[u32], tokenizer: &Tokenizer) -> usize {
    let ends = |&token: &u32| tokenizer.special_token(token).is_some_and(|spelt| ends_turn(&spelt));
    tokens.iter().position(ends).unwrap_or(tokens.len())
}

#[cfg(test)]
mod tests {
    use record::write;
    use verify::Verdict::{Correct, Incorrect, NoAnswer};

    use super::*;
    use crate::{
        problem::{Problem, ProblemId},
        task::RING,
    };

    #[test]
    fn what_follows_the_end_of_a_turn_is_kept_and_not_judged() {
        let directory = tempfile::tempdir().unwrap();
        // The padding token of the task, under the name of a token that ends turns.
        let tokenizer = RING.tokenizer_json().replace("\"_\"", "\"<|im_end|>\"");
        write::replace(&directory.path().join("tokenizer.json"), tokenizer.as_bytes()).unwrap();
        let tokenizer = Tokenizer::open(directory.path()).unwrap();
        let end = tokenizer.token_id("<|im_end|>").unwrap();
        let encode = |text: &str| tokenizer.encode(text).unwrap();
        let problem = Problem { id: ProblemId::new("a"), question: String::new(), gold: "9".to_owned(), level: None };
        let prompt = Prompt { problem, gold: Gold::parse("9").unwrap(), tokens: vec![0], opening: Opening::Free };
        let extraction = Extraction::Marker { marker: "A".to_owned() };
        for (tokens, text, verdict) in [
            ([encode("a 1 A 9"), vec![end], encode("A 5")].concat(), "a 1 A 9 A 5", Correct),
            ([encode("a 1 A 5"), vec![end], encode("A 9")].concat(), "a 1 A 5 A 9", Incorrect),
            ([encode("a 1 A 9"), vec![end]].concat(), "a 1 A 9", Correct),
            ([vec![end], encode("A 9")].concat(), "A 9", NoAnswer),
        ] {
            let completion =
                Completion { logprobs: vec![0.0; tokens.len()], tokens, entropy_nats: 0.0, stop: StopReason::Limit };
            let scored = ScoredCompletion::new(completion, &prompt, &tokenizer, &extraction);
            assert_eq!((scored.text.as_str(), scored.check.verdict), (text, verdict));
        }
    }

    #[test]
    fn thoughts_that_the_prompt_opened_hold_no_answer_until_they_are_closed() {
        let gold = Gold::parse("9").unwrap();
        for (text, opening, verdict) in [
            ("So it is 9", Opening::Thoughts, NoAnswer),
            ("So</think>It is 9", Opening::Thoughts, Correct),
            ("So it is 9", Opening::Free, Correct),
        ] {
            assert_eq!(judge(text, opening, &gold, &Extraction::Auto {}).verdict, verdict, "{text}");
        }
    }
}
