//! What was measured, as the cells of one table: aligned text or Markdown.

use super::{
    Measured,
    limit::Probe,
    measure::{Outcome, Timing},
    rows::{Peer, Work},
};

/// What stands where there is no number.
const NONE: &str = "–";
/// Characters of a cell that tells why something failed.
const REASON_CHARACTERS_MAX: usize = 60;

/// How the table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Aligned,
    Markdown,
}

/// The table of all rows, with the meaning of its columns below. Peers that no row was compared with have no column.
pub(super) fn table(measured: &[Measured], form: Form) -> String {
    let compared = |peer: &Peer| measured.iter().any(|row| row.outcome_of(*peer).is_some());
    let peers: Vec<Peer> = Peer::ALL.into_iter().filter(compared).collect();
    let mut lines = vec![headings(&peers)];
    lines.extend(measured.iter().map(|measured| cells(measured, &peers)));
    let table = match form {
        Form::Aligned => aligned(&lines),
        Form::Markdown => markdown(&lines),
    };
    table
        + "\nTokens per second, for steps of GRPO seconds; medians. Times as fast: ours against the best peer. \
           Memory: ours, then the peers' in their order.\n\
           Probe: f32 and bf16 GFLOP/s, GB/s from memory and from 64 MiB of it read again and again, before → after the row; \
           of a card those of products and of copies.\n"
}

fn headings(peers: &[Peer]) -> Vec<String> {
    let mut headings = vec!["row", "ours", "min–max"];
    headings.extend(peers.iter().map(|peer| peer.heading()));
    if !peers.is_empty() {
        headings.push("times as fast");
    }
    headings.extend(["limit", "share of limit", "aim", "GiB", "load", "probe"]);
    headings.into_iter().map(str::to_owned).collect()
}

fn cells(measured: &Measured, peers: &[Peer]) -> Vec<String> {
    let ours = measured.ours.timing();
    let work = measured.row.work;
    let mut cells = vec![measured.row.name.to_owned(), outcome_cell(Some(&measured.ours), work)];
    cells.push(ours.map_or(NONE.to_owned(), |ours| spread(ours, work)));
    cells.extend(peers.iter().map(|peer| outcome_cell(measured.outcome_of(*peer), work)));
    if !peers.is_empty() {
        cells.push(measured.times_as_fast().map_or(NONE.to_owned(), |ratio| format!("{ratio:.2}")));
    }
    let limit = measured.tokens().map(|tokens| speed(measured.limit_seconds(), tokens, work));
    cells.push(limit.unwrap_or(NONE.to_owned()));
    cells.push(percent(measured.share_of_limit()));
    cells.push(percent(measured.row.aim));
    cells.push(memory(measured, peers));
    cells.push(measured.load_average.map_or(NONE.to_owned(), |load| format!("{load:.1}")));
    cells.push(format!("{} → {}", probe(measured.probe_before), probe(measured.probe_after)));
    cells
}

fn outcome_cell(outcome: Option<&Outcome>, work: Work) -> String {
    match outcome {
        None => NONE.to_owned(),
        Some(Outcome::Timed(timing)) => speed(timing.median_seconds(), timing.tokens, work),
        Some(Outcome::Failed { failed }) => {
            let mut cell: String = failed.chars().take(REASON_CHARACTERS_MAX).collect();
            if cell.len() < failed.len() {
                cell.push('…');
            }
            cell
        }
    }
}

/// Tokens per second, or the seconds of a step of GRPO.
fn speed(seconds: f64, tokens: u64, work: Work) -> String {
    match work {
        Work::Step { .. } => format!("{seconds:.2} s"),
        Work::Train { .. } | Work::Decode { .. } | Work::Context { .. } => number(tokens as f64 / seconds),
    }
}

fn spread(timing: &Timing, work: Work) -> String {
    let (fastest, slowest) = (timing.seconds_min(), timing.seconds_max());
    let (low, high) = match work {
        Work::Step { .. } => (fastest, slowest),
        Work::Train { .. } | Work::Decode { .. } | Work::Context { .. } => (slowest, fastest),
    };
    let low = speed(low, timing.tokens, work);
    format!("{}–{}", low.trim_end_matches(" s"), speed(high, timing.tokens, work))
}

/// Three digits at least, thousands apart.
fn number(value: f64) -> String {
    if value < 99.95 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn percent(share: Option<f64>) -> String {
    share.map_or(NONE.to_owned(), |share| format!("{:.0} %", 100.0 * share))
}

fn memory(measured: &Measured, peers: &[Peer]) -> String {
    let gibibytes = |outcome: &Outcome| {
        outcome
            .timing()
            .map_or(NONE.to_owned(), |timing| format!("{:.2}", timing.peak_bytes as f64 / f64::from(1 << 30)))
    };
    let theirs = peers.iter().filter_map(|peer| measured.outcome_of(*peer)).map(gibibytes);
    [gibibytes(&measured.ours)].into_iter().chain(theirs).collect::<Vec<_>>().join(", ")
}

fn probe(probe: Probe) -> String {
    let gflops = |gflops: Option<f64>| gflops.map_or(NONE.to_owned(), |gflops| format!("{gflops:.0}"));
    let [f32, bf16] = [probe.f32_gflops, probe.bf16_gflops].map(gflops);
    let cache = probe.cache_gigabytes_per_second.map_or(NONE.to_owned(), |cache| format!("{cache:.1}"));
    format!("{f32}/{bf16}/{:.1}/{cache}", probe.memory_gigabytes_per_second)
}

/// The first column to the left, the others to the right.
fn aligned(lines: &[Vec<String>]) -> String {
    let mut widths = vec![0; lines[0].len()];
    for line in lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

fn markdown(lines: &[Vec<String>]) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule = format!("|---|{}\n", "---:|".repeat(lines[0].len() - 1));
    let rows: String = lines[1..].iter().map(|cells| line(cells)).collect();
    line(&lines[0]) + &rule + &rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::rows::Row;

    const PROBE: Probe = Probe {
        f32_gflops: Some(450.0),
        bf16_gflops: Some(800.0),
        memory_gigabytes_per_second: 40.0,
        cache_gigabytes_per_second: Some(160.0),
    };

    fn timed(seconds: &[f64], tokens: u64) -> Outcome {
        Outcome::Timed(Timing {
            peer: String::new(),
            seconds: seconds.to_vec(),
            tokens,
            peak_bytes: 1 << 29,
            note: String::new(),
        })
    }

    /// A row of training that PyTorch takes twice as long for, and a step that one peer failed at.
    fn measured() -> Vec<Measured> {
        let row = |name| *Row::named(name).expect("the row is there");
        let failed = Outcome::Failed { failed: "No module named 'trl' | exit status: 1".into() };
        let no_bf16 = Probe { bf16_gflops: None, ..PROBE };
        vec![
            Measured {
                row: row("s-train-f32"),
                threads: 2,
                load_average: Some(0.25),
                probe_before: PROBE,
                probe_after: PROBE,
                ours: timed(&[0.512, 0.4096, 0.8192], 4096),
                peers: vec![(Peer::PyTorch, timed(&[1.024], 4096))],
            },
            Measured {
                row: row("s-grpo-bf16"),
                threads: 2,
                load_average: None,
                probe_before: no_bf16,
                probe_after: PROBE,
                ours: timed(&[2.0, 2.5, 1.5], 16_384),
                peers: vec![(Peer::PyTorch, failed), (Peer::Bf16Weights, timed(&[5.0], 16_384))],
            },
        ]
    }

    #[test]
    fn the_table_is_aligned_and_says_why_something_failed() {
        // Limits by hand: 4096 tokens / 0.2899313 s, and 4 · 171.209195e9 FLOP / 450e9 + 3.3974 ms.
        let expected = "\
row             ours       min–max                                   PyTorch  bf16 weights  times as fast   limit  share of limit   aim               GiB  load                        probe
s-train-f32    8,000  5,000–10,000                                     4,000             –           2.00  14,127            57 %  73 %        0.50, 0.50   0.2  450/800/40.0/160.0 → 450/800/40.0/160.0
s-grpo-bf16   2.00 s   1.50–2.50 s  No module named 'trl' | exit status: 1        5.00 s           2.50  1.53 s            76 %  77 %  0.50, –, 0.50     –    450/–/40.0/160.0 → 450/800/40.0/160.0
";
        assert_eq!(aligned_lines(&measured()), expected.lines().map(squeezed).collect::<Vec<_>>());
        let text = table(&measured(), Form::Aligned);
        let widths: Vec<usize> = text.lines().take(3).map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|&width| width == widths[0]), "{widths:?} characters in lines of\n{text}");
    }

    fn squeezed(line: &str) -> String {
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn aligned_lines(measured: &[Measured]) -> Vec<String> {
        table(measured, Form::Aligned).lines().take(measured.len() + 1).map(squeezed).collect()
    }

    #[test]
    fn markdown_has_the_same_cells() {
        let text = table(&measured()[1..], Form::Markdown);
        let mut lines = text.lines();
        let headings = lines.next().expect("a line");
        assert!(
            headings.starts_with("| row | ours | min–max | PyTorch | bf16 weights | times as fast |"),
            "{headings}"
        );
        assert_eq!(lines.next(), Some(format!("|---|{}", "---:|".repeat(11)).as_str()));
        let row = lines.next().expect("a line");
        assert!(row.contains("| No module named 'trl' \\| exit status: 1 | 5.00 s |"), "{row}");
    }

    #[test]
    fn without_peers_their_columns_are_left_out() {
        let mut measured = measured();
        for row in &mut measured {
            row.peers.clear();
        }
        let text = table(&measured, Form::Markdown);
        assert!(
            text.starts_with("| row | ours | min–max | limit | share of limit | aim | GiB | load | probe |\n"),
            "{text}"
        );
    }

    #[test]
    fn a_row_of_ours_that_failed_leaves_the_others_their_cells() {
        let mut measured = measured();
        measured[0].ours = Outcome::Failed { failed: "é".repeat(70) };
        let line = aligned_lines(&measured)[1].clone();
        assert!(line.starts_with(&format!("s-train-f32 {}… – 4,000 – – 14,127 – 73 %", "é".repeat(60))), "{line}");
    }

    #[test]
    fn numbers_keep_three_digits_and_part_thousands() {
        for (value, expected) in [(36.66, "36.7"), (99.96, "100"), (999.6, "1,000"), (1_234_567.0, "1,234,567")] {
            assert_eq!(number(value), expected);
        }
    }
}
