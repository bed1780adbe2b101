//! Every problem with its completions, folded to a line each, and the filter that a script makes work.

use std::collections::{BTreeMap, BTreeSet};

use verify::Verdict;

use crate::{
    EvaluationRecord, StopReason,
    report::{
        escape::{Markup, block, clip, clipped_line, line},
        first_correct,
        ticks::number,
    },
};

const QUESTION_CHARACTERS_MAX: usize = 8_000;
/// Characters of the question in a folded line.
const QUESTION_GLANCE_CHARACTERS: usize = 90;
/// Completion text of a page, in characters, shared by its completions.
const PAGE_CHARACTERS_MAX: usize = 24_000_000;
/// Characters of a completion that are shown, whatever their number.
const COMPLETION_CHARACTERS: (usize, usize) = (2_000, 20_000);
/// Outcome of a completion that was cut off at the limit.
const TRUNCATED: &str = "truncated";

/// A verdict in words.
pub(super) fn verdict_words(verdict: Verdict) -> String {
    name(verdict).replace('_', " ")
}

/// A verdict as records spell it.
fn name(verdict: Verdict) -> String {
    let value = serde_json::to_value(verdict).expect("a verdict serialises to JSON");
    value.as_str().expect("a verdict is a word").to_owned()
}

/// What a completion is filtered by: its verdict, or that it was cut off.
fn outcome(record: &EvaluationRecord) -> String {
    match record.stop {
        StopReason::Limit => TRUNCATED.to_owned(),
        StopReason::End => name(record.verdict),
    }
}

/// The section: the filter, then the problems in the order of the records.
pub(super) fn section(records: &[EvaluationRecord], out: &mut Markup) {
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut problems: Vec<Vec<&EvaluationRecord>> = Vec::new();
    for record in records {
        let place = *places.entry(&record.problem).or_insert(problems.len());
        if place == problems.len() {
            problems.push(Vec::new());
        }
        problems[place].push(record);
    }
    let (least, most) = COMPLETION_CHARACTERS;
    let characters_max = (PAGE_CHARACTERS_MAX / records.len().max(1)).clamp(least, most);
    out.put_str("<section><h2>Problems</h2>");
    filter(records, out);
    for records in &mut problems {
        records.sort_by_key(|record| record.sample);
        article(records, characters_max, out);
    }
    out.put_str("</section>");
}

/// The filter, hidden until a script is there to obey it.
fn filter(records: &[EvaluationRecord], out: &mut Markup) {
    let outcomes: BTreeSet<String> = records.iter().map(outcome).collect();
    let longest = records.iter().map(|record| record.completion_tokens).max().unwrap_or(0);
    out.put_str("<form class=\"filter\" hidden><fieldset><legend>Show completions that are</legend>");
    for outcome in outcomes {
        let words = outcome.replace('_', " ");
        out.put(format_args!(
            "<label><input type=\"checkbox\" name=\"outcome\" value=\"{outcome}\" checked> {words}</label>"
        ));
    }
    out.put(format_args!(
        "</fieldset><fieldset><legend>and have tokens</legend>\
         <label>from <input type=\"number\" name=\"low\" min=\"0\" max=\"{longest}\" value=\"0\"></label>\
         <label>to <input type=\"number\" name=\"high\" min=\"0\" max=\"{longest}\" value=\"{longest}\"></label></fieldset>\
         <p class=\"buttons\"><button type=\"reset\">Show all</button> <button type=\"button\" name=\"open\">Open all shown</button>\
         <output></output></p></form>"
    ));
}

fn article(records: &[&EvaluationRecord], characters_max: usize, out: &mut Markup) {
    let Some(first) = records.first() else { return };
    let correct = records.iter().filter(|record| record.is_correct()).count();
    let tokens = records.iter().map(|record| f64::from(record.completion_tokens)).sum::<f64>() / records.len() as f64;
    let outcome = match records {
        [record] => decided(record),
        _ => format!("{correct} of {} correct", records.len()),
    };
    let level = first.level.as_ref();
    let level = level.map_or_else(String::new, |level| format!(" · level <bdi>{}</bdi>", clipped_line(level, 100)));
    out.put(format_args!(
        "<details class=\"folded\"><summary><span class=\"outcome {}\">{}</span> <span class=\"meta\">problem <bdi>{}</bdi>{level} · \
         {} tokens</span> <span class=\"glance\"><bdi>{}</bdi></span></summary>\
         <pre class=\"question\">{}</pre><p class=\"gold\">Gold answer: <bdi>{}</bdi></p>",
        if correct * 2 >= records.len() { "right" } else { "wrong" },
        line(&outcome),
        clipped_line(&first.problem, 200),
        number(tokens, usize::from(records.len() > 1)),
        line(&glance(&first.question)),
        block(&clip(&first.question, QUESTION_CHARACTERS_MAX)),
        clipped_line(&first.gold, 1000)
    ));
    for record in records {
        completion(record, characters_max, out);
    }
    out.put_str("</details>");
}

/// The beginning of a question on one line.
fn glance(question: &str) -> String {
    let words: Vec<&str> = question.split_whitespace().collect();
    let text = words.join(" ");
    let mut beginning: String = text.chars().take(QUESTION_GLANCE_CHARACTERS).collect();
    if beginning.len() < text.len() {
        beginning.push('…');
    }
    beginning
}

/// The outcome with a mark, in words.
fn decided(record: &EvaluationRecord) -> String {
    let words = outcome(record).replace('_', " ");
    if record.is_correct() { format!("✓ {words}") } else { format!("✗ {words}") }
}

fn completion(record: &EvaluationRecord, characters_max: usize, out: &mut Markup) {
    let answer = record.answer.as_ref();
    let answer =
        answer.map_or_else(String::new, |answer| format!(" · answer <bdi>{}</bdi>", clipped_line(answer, 200)));
    let reason = match record.reason.as_str() {
        "" => String::new(),
        reason => format!(" · <bdi>{}</bdi>", clipped_line(reason, 300)),
    };
    let text_verdict = match record.stop {
        StopReason::Limit => format!(" · its text reads {}", verdict_words(record.verdict)),
        StopReason::End => String::new(),
    };
    out.put(format_args!(
        "<div class=\"completion\" data-outcome=\"{}\" data-tokens=\"{}\"><p class=\"meta\"><span class=\"outcome {}\">{}</span>\
         {text_verdict} · {} tokens{answer}{reason}{}</p><pre tabindex=\"0\">{}</pre></div>",
        outcome(record),
        record.completion_tokens,
        if record.is_correct() { "right" } else { "wrong" },
        decided(record),
        number(f64::from(record.completion_tokens), 0),
        first_correct::said(record),
        first_correct::marked(record, characters_max)
    ));
}
