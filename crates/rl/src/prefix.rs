//! Beginnings of a completion and what the verifier says about them: accuracy under a token budget, and the first
//! correct answer.
//!
//! A beginning is the text of the first so many tokens as it stands; it is never told that it was cut. A character whose
//! bytes are not all there is left out. Thoughts that are not closed yet are no answer under a budget, as they are none
//! in a whole completion; the first correct answer is looked for in them too, because they are where it is overthought. With `Extraction::Auto` a number on the way may happen to be the gold, so the
//! first correct answer can come too early where completions mark theirs only at the end.

use model::Tokenizer;
use record::{PrefixVerdicts, prefix_stride, token_budgets};
use verify::{Extraction, Gold, Verdict, check};

use crate::{prompt::Opening, score::turn_tokens};

/// What beginnings are read and judged with.
#[derive(Debug, Clone, Copy)]
pub struct PrefixReader<'a> {
    /// The tokenizer of the policy.
    pub tokenizer: &'a Tokenizer,
    /// The gold answer of the problem.
    pub gold: &'a Gold,
    /// How answers are found.
    pub extraction: &'a Extraction,
    /// Token limit of the completions.
    pub completion_tokens_max: u32,
    /// What completions begin with, as far as the prompt is known.
    pub opening: Opening,
}

impl PrefixReader<'_> {
    /// The verdicts on beginnings of a completion of these `tokens`, the whole of which has `verdict`.
    pub fn verdicts(&self, tokens: &[u32], verdict: Verdict) -> PrefixVerdicts {
        let mut text = String::new();
        let mut stream = self.tokenizer.stream();
        let ends: Vec<usize> = tokens
            .iter()
            .map(|&token| {
                text.push_str(&stream.push(token));
                text.len()
            })
            .collect();
        let turn = match turn_tokens(tokens, self.tokenizer) {
            0 => 0,
            tokens => ends[tokens - 1],
        };
        let beginning = |tokens: u32| &text[..ends[tokens as usize - 1].min(turn)];
        let of = |text: &str| check(text, self.gold, self.extraction).verdict;
        let thoughts = bytes_of_prompted_thoughts(&text[..turn], self.opening);
        let under_budget =
            |text: &str| if thoughts.is_some_and(|bytes| text.len() < bytes) { Verdict::NoAnswer } else { of(text) };
        let all = tokens.len() as u32;
        let budgets = token_budgets(self.completion_tokens_max).into_iter().filter(|&budget| budget < all);
        let stride = prefix_stride(all);
        let before_end = (stride..all)
            .step_by(stride as usize)
            .find(|&tokens| of(without_open_thoughts(beginning(tokens))).is_correct());
        // What ends a completion is a token without a text: a beginning that lacks only such is the whole.
        let on_the_way = before_end.filter(|&tokens| !verdict.is_correct() || beginning(tokens).len() < turn);
        let first_correct_tokens = on_the_way.or_else(|| verdict.is_correct().then_some(all));
        PrefixVerdicts {
            budgets: budgets.map(|budget| under_budget(beginning(budget))).collect(),
            first_correct_tokens,
            first_correct_bytes: first_correct_tokens.map(|tokens| beginning(tokens).len() as u32),
        }
    }
}

/// Bytes of thoughts that were open before the text, with their `</think>`, and more than there are where they stay open:
/// templates such as those of DeepSeek-R1's models end a prompt with `<think>`, which a policy may write once more. Of a
/// prompt that is not known, a text which closes what it did not open says as much.
fn bytes_of_prompted_thoughts(text: &str, opening: Opening) -> Option<usize> {
    let close = "</think>";
    let end = text.find(close);
    match opening {
        Opening::Thoughts => Some(end.map_or(usize::MAX, |end| end + close.len())),
        Opening::Free => end.filter(|&end| !text[..end].contains("<think>")).map(|end| end + close.len()),
    }
}

/// The text after a `<think>` that is not closed yet; otherwise all of it.
fn without_open_thoughts(text: &str) -> &str {
    text.rsplit_once("<think>")
        .map(|(_, thoughts)| thoughts)
        .filter(|thoughts| !thoughts.contains("</think>"))
        .unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use Verdict::{Correct, Incorrect, NoAnswer};
    use record::write;

    use super::*;
    use crate::task::RING;

    fn tokenizer() -> Tokenizer {
        let directory = tempfile::tempdir().unwrap();
        write::replace(&directory.path().join("tokenizer.json"), RING.tokenizer_json().as_bytes()).unwrap();
        Tokenizer::open(directory.path()).unwrap()
    }

    #[test]
    fn beginnings_are_judged_as_they_stand() {
        let tokenizer = tokenizer();
        for (completion, limit, budgets, first_correct) in [
            // The answer is right after five tokens, and changed after seven.
            ("<c> a 1 A 9 A 5", 10, vec![NoAnswer, NoAnswer, NoAnswer, Correct], Some((5, "<c> a 1 A 9"))),
            ("<c> a 1 A 9 A 5", 16, vec![NoAnswer, NoAnswer, NoAnswer], Some((5, "<c> a 1 A 9"))),
            (
                "<c> a 1 A 5 b 2 A 9",
                14,
                vec![NoAnswer, NoAnswer, NoAnswer, Incorrect],
                Some((9, "<c> a 1 A 5 b 2 A 9")),
            ),
            ("<c> a 1 A 5", 80, vec![], None),
            ("", 80, vec![], None),
        ] {
            let gold = Gold::parse("9").unwrap();
            let extraction = Extraction::Marker { marker: "A".to_owned() };
            let verdict = check(completion, &gold, &extraction).verdict;
            let reader = PrefixReader {
                tokenizer: &tokenizer,
                gold: &gold,
                extraction: &extraction,
                completion_tokens_max: limit,
                opening: Opening::Free,
            };
            let verdicts = reader.verdicts(&tokenizer.encode(completion).unwrap(), verdict);
            let (first_correct_tokens, text): (Option<u32>, Option<&str>) = first_correct.unzip();
            let first_correct_bytes = text.map(|text| text.len() as u32);
            let expected = PrefixVerdicts { budgets, first_correct_tokens, first_correct_bytes };
            assert_eq!(verdicts, expected, "{completion} under {limit}");
        }
    }

    #[test]
    fn thoughts_are_read_while_they_are_open() {
        for (text, expected) in [
            ("<think>So 9", "So 9"),
            ("<think>So 9</think>It is 9", "<think>So 9</think>It is 9"),
            ("So 9</think>It", "So 9</think>It"),
            ("It is 9", "It is 9"),
        ] {
            assert_eq!(without_open_thoughts(text), expected);
        }
    }

    #[test]
    fn a_token_without_text_at_the_end_is_no_writing_after_the_answer() {
        let tokenizer = tokenizer();
        let gold = Gold::parse("9").unwrap();
        let extraction = Extraction::Marker { marker: "A".to_owned() };
        let reader = PrefixReader {
            tokenizer: &tokenizer,
            gold: &gold,
            extraction: &extraction,
            completion_tokens_max: 80,
            opening: Opening::Free,
        };
        let end = tokenizer.encode("$").unwrap();
        assert_eq!((end.len(), tokenizer.decode(&end).as_str()), (1, ""));
        for (text, expected) in [("<c> a 1 A 9", 6), ("<c> a 1 A 9 b", 5)] {
            let tokens = [tokenizer.encode(text).unwrap(), end.clone()].concat();
            assert_eq!(reader.verdicts(&tokens, Correct).first_correct_tokens, Some(expected), "{text}");
        }
    }

    #[test]
    fn thoughts_that_the_prompt_opened_are_no_answer_under_a_budget() {
        let closed = |text: &str| Some(text.len());
        for (text, after_any, after_thoughts) in [
            ("So 9</think>It is 9", closed("So 9</think>"), closed("So 9</think>")),
            ("<think>So 9</think>It is 9", None, closed("<think>So 9</think>")),
            ("So <think>9</think>", None, closed("So <think>9</think>")),
            ("It is 9", None, Some(usize::MAX)),
        ] {
            assert_eq!(bytes_of_prompted_thoughts(text, Opening::Free), after_any, "{text}");
            assert_eq!(bytes_of_prompted_thoughts(text, Opening::Thoughts), after_thoughts, "{text}");
        }
    }

    #[test]
    fn a_long_completion_is_judged_at_no_more_than_256_beginnings() {
        let tokenizer = tokenizer();
        // 600 tokens are looked at every three: the answer is there after 302, and seen after 303.
        let completion = [vec!["a"; 300], vec!["A", "9"], vec!["b"; 298]].concat().join(" ");
        let gold = Gold::parse("9").unwrap();
        let reader = PrefixReader {
            tokenizer: &tokenizer,
            gold: &gold,
            extraction: &Extraction::Auto {},
            completion_tokens_max: 600,
            opening: Opening::Free,
        };
        let verdicts = reader.verdicts(&tokenizer.encode(&completion).unwrap(), Correct);
        assert_eq!(verdicts.first_correct_tokens, Some(303));
    }
}
