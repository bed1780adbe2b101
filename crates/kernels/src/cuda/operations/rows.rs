//! Operations that take every row alone, and sums over rows: embedding, norms, biases, heads' norms and positions, the MLP's
//! gate.

use super::{Operations, rows_of};
use crate::cuda::{
    array::{Arguments, Array, Bf16},
    launch::{self, CHUNK_ROWS},
};

/// Rows that are added to others.
#[derive(Debug)]
pub struct Scatter {
    /// \[N\], where each row goes.
    places: Array<u32>,
    /// \[N\], the rows sorted by place, and by themselves where they share one.
    order: Array<u32>,
    /// Where each place begins in `order`, and the end.
    starts: Array<u32>,
}

impl Scatter {
    /// No rows.
    pub fn new(operations: &Operations) -> Self {
        let array = || Array::new(operations.machine());
        Self { places: array(), order: array(), starts: array() }
    }

    /// Row n goes to place `places[n]`.
    pub fn set(&mut self, places: &[u32]) {
        let mut order: Vec<u32> = (0..places.len() as u32).collect();
        order.sort_by_key(|&row| places[row as usize]);
        let place = |at: usize| places[order[at] as usize];
        let is_first = |&at: &usize| at == 0 || at == order.len() || place(at) != place(at - 1);
        let starts: Vec<u32> = (0..=order.len()).filter(is_first).map(|at| at as u32).collect();
        self.places.set(places);
        self.order.set(&order);
        self.starts.set(&starts);
    }
}

/// A norm of rows.
#[derive(Debug, Clone, Copy)]
pub struct Norm<'a> {
    /// \[C\].
    pub weight: &'a Array<f32>,
    /// Added to the mean of squares.
    pub epsilon: f32,
}

/// What the gradients of norms and biases work in.
#[derive(Debug)]
pub struct NormScratch {
    /// \[N\], 1/√(mean(x²) + ε).
    inverse: Array<f32>,
    /// \[chunks, C\], sums of some rows.
    partial: Array<f32>,
}

impl NormScratch {
    /// Scratch that holds nothing.
    pub fn new(operations: &Operations) -> Self {
        Self { inverse: Array::new(operations.machine()), partial: Array::new(operations.machine()) }
    }
}

/// Norm and position of the heads of rows \[N, heads, D\].
#[derive(Debug, Clone, Copy)]
pub struct Rotation<'a> {
    /// Heads of a row.
    pub heads: usize,
    /// The norm of each head, weight \[D\].
    pub norm: Option<Norm<'a>>,
    /// Cosines and sines \[positions, D/2\], and the positions \[N\].
    pub positions: Option<(&'a [Array<f32>; 2], &'a Array<u32>)>,
}

impl Operations {
    /// out \[N, C\] = table\[places\], table \[rows, C\].
    pub fn gather(&self, out: &mut Array<f32>, table: &Array<f32>, places: &Array<u32>, width: usize) {
        rows_of(table, width);
        let rows = places.len();
        out.resize(rows * width);
        let arguments = Arguments::default().array(out).array(table).array(places).int(rows).int(width);
        self.start(&launch::embedding_forward(rows), arguments);
    }

    /// sums\[place\] += every row of that place, first row first. Shapes: sums \[places, C\], rows \[N, C\].
    pub fn scatter(&self, sums: &mut Array<f32>, rows: &Array<f32>, scatter: &Scatter, width: usize) {
        rows_of(sums, width);
        assert_eq!(rows_of(rows, width), scatter.places.len(), "a place for every row");
        let Scatter { places, order, starts } = scatter;
        let occurring = starts.len().saturating_sub(1);
        let arguments = Arguments::default().array(sums).array(rows).array(places).array(order).array(starts);
        self.start(&launch::embedding_backward(occurring), arguments.int(occurring).int(width));
    }

    /// out = norm(rows), both \[N, C\].
    pub fn normalise(&self, out: &mut Array<Bf16>, rows: &Array<f32>, norm: Norm<'_>) {
        let width = norm.weight.len();
        let count = rows_of(rows, width);
        out.resize(rows.len());
        let arguments = Arguments::default().array(out).array(rows).array(norm.weight).value(norm.epsilon);
        self.start(&launch::rms_norm_forward(count), arguments.int(count).int(width));
    }

    /// out = the gradient of `rows` for that of their norm; the weight's gradient is added to `weight_gradient`.
    pub fn normalise_back(
        &self,
        out: &mut Array<f32>,
        (gradient, rows, norm): (&Array<f32>, &Array<f32>, Norm<'_>),
        weight_gradient: Option<&mut Array<f32>>,
        scratch: &mut NormScratch,
    ) {
        out.resize(rows.len());
        let launch = launch::rms_norm_backward(rows_of(rows, norm.weight.len()));
        self.norm_gradients(&launch, (gradient, rows, norm), (out, weight_gradient), scratch);
    }

    /// As [`Operations::normalise_back`], added to what is in `out`.
    pub fn normalise_back_onto(
        &self,
        out: &mut Array<f32>,
        (gradient, rows, norm): (&Array<f32>, &Array<f32>, Norm<'_>),
        weight_gradient: Option<&mut Array<f32>>,
        scratch: &mut NormScratch,
    ) {
        assert_eq!(out.len(), rows.len(), "gradients of the rows");
        let launch = launch::rms_norm_backward_onto(rows_of(rows, norm.weight.len()));
        self.norm_gradients(&launch, (gradient, rows, norm), (out, weight_gradient), scratch);
    }

    fn norm_gradients(
        &self,
        launch: &launch::Launch,
        (gradient, rows, norm): (&Array<f32>, &Array<f32>, Norm<'_>),
        (out, weight_gradient): (&Array<f32>, Option<&mut Array<f32>>),
        NormScratch { inverse, partial }: &mut NormScratch,
    ) {
        let width = norm.weight.len();
        let count = rows_of(rows, width);
        assert_eq!(gradient.len(), rows.len(), "gradients of {count} rows of {width}");
        inverse.resize(count);
        let arguments = Arguments::default().array(out).array(inverse).array(gradient).array(rows);
        self.start(launch, arguments.array(norm.weight).value(norm.epsilon).int(count).int(width));
        let Some(sum) = weight_gradient else { return };
        partial.resize(count.div_ceil(CHUNK_ROWS) * width);
        let arguments = Arguments::default().array(partial).array(gradient).array(rows).array(inverse);
        self.start(&launch::rms_norm_weight_chunks(count, width), arguments.int(count).int(width));
        self.add_chunks(sum, partial, width);
    }

    /// sum \[C\] += every row of partial \[chunks, C\].
    fn add_chunks(&self, sum: &mut Array<f32>, partial: &Array<f32>, width: usize) {
        assert_eq!(sum.len(), width, "sums of {width} columns");
        let arguments = Arguments::default().array(sum).array(partial).int(rows_of(partial, width)).int(width);
        self.start(&launch::add_chunks(width), arguments);
    }

    /// rows \[N, C\] += bias \[C\].
    pub fn add_bias(&self, rows: &mut Array<f32>, bias: &Array<f32>) {
        rows_of(rows, bias.len());
        let arguments = Arguments::default().array(rows).array(bias).long(rows.len()).int(bias.len());
        self.start(&launch::add_bias(rows.len()), arguments);
    }

    /// sum \[C\] += every row of \[N, C\].
    pub fn add_rows(&self, sum: &mut Array<f32>, rows: &Array<f32>, scratch: &mut NormScratch) {
        let width = sum.len();
        let count = rows_of(rows, width);
        let partial = &mut scratch.partial;
        partial.resize(count.div_ceil(CHUNK_ROWS) * width);
        let arguments = Arguments::default().array(partial).array(rows).int(count).int(width);
        self.start(&launch::row_chunks(count, width), arguments);
        self.add_chunks(sum, partial, width);
    }

    /// out = values in bf16. Their count is a multiple of 4.
    pub fn round(&self, out: &mut Array<Bf16>, values: &Array<f32>) {
        self.round_scaled(out, values, 1.0);
    }

    /// out = scale · values in bf16. Their count is a multiple of 4.
    pub fn round_scaled(&self, out: &mut Array<Bf16>, values: &Array<f32>, scale: f32) {
        let count = values.len();
        assert!(count.is_multiple_of(4), "{count} values, no multiple of 4");
        out.resize(count);
        let arguments = Arguments::default().array(out).array(values).long(count).value(scale);
        self.start(&launch::round_values(count), arguments);
    }

    /// out = the heads of `rows` with their norm and position, both \[N, heads, D\].
    pub fn rotate(&self, out: &mut Array<Bf16>, rows: &Array<f32>, rotation: Rotation<'_>) {
        let count = self.check_rotation(rows, rotation);
        out.resize(rows.len());
        let arguments = rotation_arguments(Arguments::default().array(out).array(rows), rotation);
        let arguments = arguments.int(count).int(rotation.heads);
        self.start(&launch::head_forward(count * rotation.heads), arguments);
    }

    /// Turns the gradient of [`Operations::rotate`]'s output into that of its input `rows`, which `factors` gets in bf16.
    pub fn rotate_back(
        &self,
        (gradient, factors): (&mut Array<f32>, &mut Array<Bf16>),
        (rows, rotation): (Option<&Array<f32>>, Rotation<'_>),
        weight_gradient: Option<&mut Array<f32>>,
        scratch: &mut NormScratch,
    ) {
        let count = self.check_rotation(gradient, rotation);
        assert_eq!(rows.is_some(), rotation.norm.is_some(), "rows for the norm's gradient");
        assert!(rows.is_none_or(|rows| rows.len() == gradient.len()), "gradients of {count} rows");
        factors.resize(gradient.len());
        let width = self.heads.width;
        let launch = launch::head_backward(count * rotation.heads, width);
        let partial = &mut scratch.partial;
        partial.resize(launch.grid[0] * width);
        // Without a norm the kernel looks at rows as at anything that is there.
        let rows = rows.unwrap_or(gradient);
        let arguments = Arguments::default().array(gradient).array(factors).array(partial).array(rows);
        let arguments = rotation_arguments(arguments, rotation).int(count).int(rotation.heads);
        self.start(&launch, arguments);
        if let (Some(sum), Some(_)) = (weight_gradient, rotation.norm) {
            self.add_chunks(sum, partial, width);
        }
    }

    /// Rows of heads; the rotation fits them.
    fn check_rotation(&self, rows: &Array<f32>, rotation: Rotation<'_>) -> usize {
        let width = self.heads.width;
        let count = rows_of(rows, rotation.heads * width);
        if let Some((tables, positions)) = rotation.positions {
            assert_eq!(positions.len(), count, "a position for every row");
            for table in tables {
                rows_of(table, width / 2);
            }
        }
        if let Some(norm) = rotation.norm {
            assert_eq!(norm.weight.len(), width, "the norm of heads of {width}");
        }
        count
    }

    /// out = silu(gate)·up in bf16.
    pub fn gate(&self, out: &mut Array<Bf16>, gate: &Array<f32>, up: &Array<f32>) {
        let count = gate.len();
        assert!(up.len() == count && count.is_multiple_of(4), "{count} gates of {} values", up.len());
        out.resize(count);
        self.start(&launch::gate_forward(count), Arguments::default().array(out).array(gate).array(up).long(count));
    }

    /// Gradients of gate and up in bf16, from that of the output.
    pub fn gate_back(
        &self,
        [gate_gradient, up_gradient]: [&mut Array<Bf16>; 2],
        [gate, up, out_gradient]: [&Array<f32>; 3],
    ) {
        let count = gate.len();
        assert_eq!([up.len(), out_gradient.len()], [count; 2], "gates, values and gradients");
        gate_gradient.resize(count);
        up_gradient.resize(count);
        let arguments = Arguments::default().array(gate_gradient).array(up_gradient).array(gate).array(up);
        self.start(&launch::gate_backward(count), arguments.array(out_gradient).long(count));
    }
}

/// Weight, epsilon, cosines, sines and positions.
fn rotation_arguments(arguments: Arguments, rotation: Rotation<'_>) -> Arguments {
    let arguments = match rotation.norm {
        Some(Norm { weight, epsilon }) => arguments.array(weight).value(epsilon),
        None => arguments.value(0_u64).value(0.0_f32),
    };
    match rotation.positions {
        Some(([cosines, sines], positions)) => arguments.array(cosines).array(sines).array(positions),
        None => arguments.value(0_u64).value(0_u64).value(0_u64),
    }
}
