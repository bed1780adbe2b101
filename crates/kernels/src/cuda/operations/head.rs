//! Logprobs, entropies, their gradients, and drawing, without the logits of all rows where nothing is drawn.

use super::{Operations, Output, rows_of};
use crate::{
    cuda::{
        array::{Arguments, Array, Bf16},
        launch::{self, VOCABULARY_BLOCK},
        machine::Side,
        parameters::{BlockSum, DrawSettings, DrawnToken, HeadProduct, RowLogprob},
    },
    sample::Sampling,
};

/// Hidden rows \[N, C\] and the head \[V, C\] that reads them.
#[derive(Debug, Clone, Copy)]
pub struct HeadRows<'a> {
    /// Normalised rows.
    pub hidden: &'a Array<Bf16>,
    /// The head's weight.
    pub head: &'a Array<Bf16>,
    /// C.
    pub width: usize,
    /// What logits are divided by; drawing takes that of [`Sampling`] instead.
    pub temperature: f32,
}

/// Gradients of logits of some rows, \[rows, stride\], V filled up to a multiple of 8.
#[derive(Debug)]
pub struct LogitGradients {
    /// In bf16, as products read them.
    pub gradients: Array<Bf16>,
    /// Numbers of a row.
    pub stride: usize,
}

impl HeadRows<'_> {
    fn product(&self) -> HeadProduct {
        let number = |count: usize| i32::try_from(count).expect("a count of 31 bits");
        HeadProduct {
            hidden: self.hidden.start(),
            head: self.head.start(),
            rows: number(self.rows()),
            vocabulary: number(self.vocabulary()),
            width: number(self.width),
            inverse_temperature: 1.0 / self.temperature,
        }
    }

    fn rows(&self) -> usize {
        rows_of(self.hidden, self.width)
    }

    fn vocabulary(&self) -> usize {
        rows_of(self.head, self.width)
    }
}

impl LogitGradients {
    fn side(&self, rows: HeadRows<'_>) -> Side {
        assert_eq!(self.gradients.len(), rows.rows() * self.stride, "gradients of the logits of the rows");
        Side { start: self.gradients.start(), stride: self.stride, is_transposed: false }
    }
}

impl Operations {
    /// out \[N\] for the targets `tokens` \[N\].
    pub fn logprobs(
        &self,
        out: &mut Array<RowLogprob>,
        rows: HeadRows<'_>,
        tokens: &Array<u32>,
        (sums, target_logits): (&mut Array<BlockSum>, &mut Array<f32>),
    ) {
        let (count, vocabulary) = (rows.rows(), rows.vocabulary());
        assert_eq!(tokens.len(), count, "a target for every row");
        let blocks = vocabulary.div_ceil(VOCABULARY_BLOCK);
        sums.resize(count * blocks);
        target_logits.resize(count);
        out.resize(count);
        let arguments = Arguments::default().array(sums).array(target_logits).value(0_u64).array(tokens);
        self.start(&launch::head_sums(count, vocabulary), arguments.value(rows.product()));
        let arguments = Arguments::default().array(out).array(sums).array(target_logits).int(count).int(blocks);
        self.start(&launch::head_logprobs(count), arguments);
    }

    /// Gradients of the logits for those of the logprobs \[N\].
    pub fn logit_gradients(
        &self,
        out: &mut LogitGradients,
        rows: HeadRows<'_>,
        (logprob_gradients, logprobs, tokens): (&Array<f32>, &Array<RowLogprob>, &Array<u32>),
    ) {
        let (count, vocabulary) = (rows.rows(), rows.vocabulary());
        let lengths = [logprob_gradients.len(), logprobs.len(), tokens.len()];
        assert_eq!(lengths, [count; 3], "gradients, logprobs and targets of {count} rows");
        out.stride = vocabulary.next_multiple_of(8);
        out.gradients.resize(count * out.stride);
        let arguments = Arguments::default().array(&out.gradients).array(logprob_gradients).array(logprobs);
        let arguments = arguments.array(tokens).value(rows.product()).int(out.stride);
        self.start(&launch::head_gradients(count, vocabulary), arguments);
    }

    /// out \[N, C\] = the gradient of the hidden rows for that of their logits.
    pub fn head_back(&self, out: Output<'_>, rows: HeadRows<'_>, logits: &LogitGradients) {
        let vocabulary = rows.vocabulary();
        let left = logits.side(rows);
        let right = Side { start: rows.head.start(), stride: rows.width, is_transposed: false };
        self.multiply(out, (left, right), [rows.rows(), rows.width, vocabulary]);
    }

    /// sum \[V, C\] += the gradient of the head for that of the logits.
    pub fn add_head_gradient(&self, sum: &mut Array<f32>, rows: HeadRows<'_>, logits: &LogitGradients) {
        let left = Side { is_transposed: true, ..logits.side(rows) };
        let right = Side { start: rows.hidden.start(), stride: rows.width, is_transposed: false };
        self.multiply(Output::Add(sum), (left, right), [rows.vocabulary(), rows.width, rows.rows()]);
    }

    /// Draws a token after each row, at one uniform number in \[0, 1) each.
    pub fn draw(
        &self,
        out: &mut Array<DrawnToken>,
        rows: HeadRows<'_>,
        (sampling, uniforms): (&Sampling, &Array<f64>),
        (logits, sums): (&mut Array<f32>, &mut Array<BlockSum>),
    ) {
        let (count, vocabulary) = (rows.rows(), rows.vocabulary());
        assert_eq!(uniforms.len(), count, "a number for every row");
        let temperature = if sampling.temperature > 0.0 { sampling.temperature } else { 1.0 };
        let rows = HeadRows { temperature, ..rows };
        let blocks = vocabulary.div_ceil(VOCABULARY_BLOCK);
        logits.resize(count * vocabulary);
        sums.resize(count * blocks);
        out.resize(count);
        let arguments = Arguments::default().array(sums).value(0_u64).array(logits).value(0_u64);
        self.start(&launch::head_sums(count, vocabulary), arguments.value(rows.product()));
        let arguments = Arguments::default().array(out).array(logits).array(sums).array(uniforms);
        let arguments = arguments.value(DrawSettings::from(sampling)).int(vocabulary).int(blocks);
        self.start(&launch::sample(count, vocabulary), arguments);
    }
}
