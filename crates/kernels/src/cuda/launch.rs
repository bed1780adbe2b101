//! With how many blocks, threads and bytes of shared memory each kernel is started: the one place that says so. The host's
//! code and the checks without a card both ask here, and the sources get the constants by name.

use super::parameters::BlockSum;

/// Threads of a block where nothing else is said.
pub const THREADS: usize = 256;
/// Threads of a warp.
const WARP: usize = 32;
/// Rows that are summed up together before `add_chunks`.
pub const CHUNK_ROWS: usize = 128;
/// Heads of rows of the same.
pub const CHUNK_HEADS: usize = 512;
/// Numbers of a block of `square_blocks`.
pub const SQUARES: usize = 4096;
/// Query rows of a block of attention: 16 a warp.
pub const TILE_ROWS: usize = 64;
/// Positions of a tile of keys, and of a page of the cache.
pub const TILE_KEYS: usize = 64;
/// Query rows that the backward of keys takes together.
pub const TILE_QUERIES: usize = 32;
/// Threads of a block of attention.
pub const ATTENTION_THREADS: usize = 128;
/// Rows of a block of the head.
pub const HEAD_ROWS: usize = 64;
/// Tokens that it passes over at a time.
pub const HEAD_COLUMNS: usize = 128;
/// Its threads.
pub const HEAD_THREADS: usize = 128;
/// Columns of C that it holds at a time, with what keeps rows in different banks.
const HEAD_STRIDE: usize = 64 + 8;
/// Tokens whose logits are summed up together.
pub const VOCABULARY_BLOCK: usize = 512;
/// Threads of a block of `sample`.
pub const SAMPLE_THREADS: usize = 256;
/// Vocabulary blocks that it can hold: V up to 262,144.
pub const SAMPLE_BLOCKS_MAX: usize = 512;
/// Largest vocabulary that tokens are drawn from.
pub const VOCABULARY_MAX: usize = SAMPLE_BLOCKS_MAX * VOCABULARY_BLOCK;
/// Largest D.
pub const HEAD_WIDTH_MAX: usize = 128;
/// Query rows of a warp, which the rows of one key-value head must not exceed in decoding.
pub const WARP_ROWS: usize = 16;

/// The constants that sources know by name.
pub const CONSTANTS: [(&str, usize); 14] = [
    ("THREADS", THREADS),
    ("CHUNK_ROWS", CHUNK_ROWS),
    ("CHUNK_HEADS", CHUNK_HEADS),
    ("SQUARES", SQUARES),
    ("TILE_ROWS", TILE_ROWS),
    ("TILE_KEYS", TILE_KEYS),
    ("TILE_QUERIES", TILE_QUERIES),
    ("ATTENTION_THREADS", ATTENTION_THREADS),
    ("HEAD_ROWS", HEAD_ROWS),
    ("HEAD_COLUMNS", HEAD_COLUMNS),
    ("HEAD_THREADS", HEAD_THREADS),
    ("VOCABULARY_BLOCK", VOCABULARY_BLOCK),
    ("SAMPLE_THREADS", SAMPLE_THREADS),
    ("SAMPLE_BLOCKS_MAX", SAMPLE_BLOCKS_MAX),
];

/// A kernel with the shape it is started in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launch {
    /// Its name.
    pub kernel: &'static str,
    /// Blocks in x and y.
    pub grid: [usize; 2],
    /// Threads of a block.
    pub threads: usize,
    /// Shared memory of a block.
    pub shared_bytes: usize,
}

/// One thread each.
fn by_thread(kernel: &'static str, threads: usize) -> Launch {
    Launch { kernel, grid: [threads.div_ceil(THREADS), 1], threads: THREADS, shared_bytes: 0 }
}

/// One warp each.
fn by_warp(kernel: &'static str, warps: usize) -> Launch {
    by_thread(kernel, warps * WARP)
}

/// Bytes of one bf16 row of a tile of D columns: `STRIDE` of tile.cuh.
fn tile_row_bytes(head_width: usize) -> usize {
    (head_width.next_multiple_of(16) + 8) * 2
}

/// `embedding_forward` of N rows.
pub fn embedding_forward(rows: usize) -> Launch {
    by_warp("embedding_forward", rows)
}

/// `embedding_backward` of the tokens that occur.
pub fn embedding_backward(occurring: usize) -> Launch {
    by_warp("embedding_backward", occurring)
}

/// `rms_norm_forward` of N rows.
pub fn rms_norm_forward(rows: usize) -> Launch {
    by_warp("rms_norm_forward", rows)
}

/// `rms_norm_backward` of N rows.
pub fn rms_norm_backward(rows: usize) -> Launch {
    by_warp("rms_norm_backward", rows)
}

/// `rms_norm_backward_onto` of N rows.
pub fn rms_norm_backward_onto(rows: usize) -> Launch {
    by_warp("rms_norm_backward_onto", rows)
}

/// `rms_norm_weight_chunks` of \[N, C\]; its output is \[N in chunks of [`CHUNK_ROWS`], C\].
pub fn rms_norm_weight_chunks(rows: usize, width: usize) -> Launch {
    Launch { kernel: "rms_norm_weight_chunks", ..row_chunks(rows, width) }
}

/// `row_chunks` of \[N, C\]; its output is \[N in chunks of [`CHUNK_ROWS`], C\].
pub fn row_chunks(rows: usize, width: usize) -> Launch {
    Launch { grid: [width.div_ceil(THREADS), rows.div_ceil(CHUNK_ROWS)], ..by_thread("row_chunks", width) }
}

/// `add_chunks` onto C sums.
pub fn add_chunks(width: usize) -> Launch {
    by_thread("add_chunks", width)
}

/// `add_bias` to N·C values.
pub fn add_bias(values: usize) -> Launch {
    by_thread("add_bias", values.div_ceil(4))
}

/// `round_values` of N values.
pub fn round_values(values: usize) -> Launch {
    by_thread("round_values", values.div_ceil(4))
}

/// `head_forward` of N·heads heads.
pub fn head_forward(heads: usize) -> Launch {
    by_warp("head_forward", heads)
}

/// `head_backward` of N·heads heads; its partial sums are \[blocks, D\].
pub fn head_backward(heads: usize, head_width: usize) -> Launch {
    let shared_bytes = THREADS / WARP * head_width * size_of::<f32>();
    Launch { kernel: "head_backward", grid: [heads.div_ceil(CHUNK_HEADS), 1], threads: THREADS, shared_bytes }
}

/// `gate_forward` of N values.
pub fn gate_forward(values: usize) -> Launch {
    by_thread("gate_forward", values.div_ceil(4))
}

/// `gate_backward` of N values.
pub fn gate_backward(values: usize) -> Launch {
    by_thread("gate_backward", values.div_ceil(4))
}

/// `attention_forward` of blocks of query rows and H heads: the queries, and two stages of keys and values.
pub fn attention_forward(blocks: usize, heads: usize, head_width: usize) -> Launch {
    let shared_bytes = (TILE_ROWS + 4 * TILE_KEYS) * tile_row_bytes(head_width);
    Launch { kernel: "attention_forward", grid: [blocks, heads], threads: ATTENTION_THREADS, shared_bytes }
}

/// `attention_delta` of N·H heads.
pub fn attention_delta(heads: usize) -> Launch {
    by_warp("attention_delta", heads)
}

/// `attention_backward_queries` of blocks of query rows and H heads: queries, gradients of the output, and two stages.
pub fn attention_backward_queries(blocks: usize, heads: usize, head_width: usize) -> Launch {
    let shared_bytes = (2 * TILE_ROWS + 4 * TILE_KEYS) * tile_row_bytes(head_width);
    Launch { kernel: "attention_backward_queries", grid: [blocks, heads], threads: ATTENTION_THREADS, shared_bytes }
}

/// `attention_backward_keys` of blocks of keys and K heads: keys and values, two stages of queries and gradients of the
/// output, and of their log sums and deltas.
pub fn attention_backward_keys(blocks: usize, heads: usize, head_width: usize) -> Launch {
    let tiles = (2 * TILE_KEYS + 4 * TILE_QUERIES) * tile_row_bytes(head_width);
    let shared_bytes = tiles + 4 * TILE_QUERIES * size_of::<f32>();
    Launch { kernel: "attention_backward_keys", grid: [blocks, heads], threads: ATTENTION_THREADS, shared_bytes }
}

/// Bytes of shared memory that a block takes in training at most: in the attention and its gradients.
pub fn training_block_bytes(head_width: usize) -> usize {
    let [forward, queries, keys] = [attention_forward, attention_backward_queries, attention_backward_keys]
        .map(|launch| launch(1, 1, head_width).shared_bytes);
    forward.max(queries).max(keys)
}

/// `attention_decode` of tiles of sequences and K heads: queries, and two stages of keys and values.
pub fn attention_decode(tiles: usize, heads: usize, head_width: usize) -> Launch {
    let shared_bytes = (WARP_ROWS + 4 * TILE_KEYS) * tile_row_bytes(head_width);
    Launch { kernel: "attention_decode", grid: [tiles, heads], threads: WARP, shared_bytes }
}

/// `cache_append` of N·K heads.
pub fn cache_append(heads: usize) -> Launch {
    by_warp("cache_append", heads)
}

/// A kernel over tiles of rows and vocabulary blocks: two stages of both, and the sums of half of a block's columns.
fn head(kernel: &'static str, rows: usize, vocabulary: usize) -> Launch {
    let stages = 2 * (HEAD_ROWS + HEAD_COLUMNS) * HEAD_STRIDE * 2;
    Launch {
        kernel,
        grid: [rows.div_ceil(HEAD_ROWS), vocabulary.div_ceil(VOCABULARY_BLOCK)],
        threads: HEAD_THREADS,
        shared_bytes: stages + HEAD_ROWS * size_of::<BlockSum>(),
    }
}

/// `head_sums` of N rows; its sums are \[N, vocabulary blocks\].
pub fn head_sums(rows: usize, vocabulary: usize) -> Launch {
    head("head_sums", rows, vocabulary)
}

/// `head_gradients` of N rows.
pub fn head_gradients(rows: usize, vocabulary: usize) -> Launch {
    head("head_gradients", rows, vocabulary)
}

/// `head_logprobs` of N rows.
pub fn head_logprobs(rows: usize) -> Launch {
    by_warp("head_logprobs", rows)
}

/// `sample` of N rows.
pub fn sample(rows: usize, vocabulary: usize) -> Launch {
    assert!(vocabulary <= VOCABULARY_MAX, "a vocabulary of {vocabulary}, above {VOCABULARY_MAX}");
    // Digits, the sums of each warp (two of f64, one of u64), the walk's place, and the blocks' weights.
    let shared_bytes = (256 + 3 * SAMPLE_THREADS / WARP + 2 + SAMPLE_BLOCKS_MAX) * size_of::<u64>();
    Launch { kernel: "sample", grid: [rows, 1], threads: SAMPLE_THREADS, shared_bytes }
}

/// `adamw` of N values.
pub fn adamw(values: usize) -> Launch {
    by_thread("adamw", values.div_ceil(4))
}

/// Bytes of the sums of a block's warps.
const WARP_SUMS: usize = THREADS / WARP * size_of::<f64>();

/// `square_blocks` of N values, one sum a block.
pub fn square_blocks(values: usize) -> Launch {
    let grid = [values.div_ceil(SQUARES), 1];
    Launch { kernel: "square_blocks", grid, threads: THREADS, shared_bytes: WARP_SUMS }
}

/// `global_norm` of all sums.
pub fn global_norm() -> Launch {
    Launch { kernel: "global_norm", grid: [1, 1], threads: THREADS, shared_bytes: WARP_SUMS }
}
