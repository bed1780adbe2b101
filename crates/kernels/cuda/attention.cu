// Causal softmax attention with grouped key-value heads (arXiv 2305.13245) over packed ragged sequences:
// out = softmax(q·kᵀ/√D)·v in bf16 factors and f32 sums, nothing of size T × T held.
//
// Rows lie tree by tree: a prompt (the trunk), then the sequences that continue it (the branches). A row of a branch sees
// the whole trunk and its own branch up to itself. The work is cut by the host into blocks of rows of one trunk or branch,
// counted from its beginning.
#include "softmax.cuh"

// At most TILE_ROWS neighbouring query rows of one part, `first` of them the first. They see the rows of the trunk (none for
// a trunk's own rows) and those of their part, from `own_first` to themselves.
struct QueryBlock {
    int first, rows, trunk_first, trunk_rows, own_first;
};

// The tiles of keys that a block of rows sees, in order.
struct KeyTiles {
    QueryBlock block;
    int trunk_tiles, tiles;
};

DEVICE KeyTiles key_tiles(const QueryBlock &block) {
    const int trunk = (block.trunk_rows + TILE_KEYS - 1) / TILE_KEYS;
    const int own = (block.first + block.rows - block.own_first + TILE_KEYS - 1) / TILE_KEYS;
    return {block, trunk, trunk + own};
}

// First row of tile `index` and how many rows it has.
DEVICE int tile_first(const KeyTiles &tiles, int index) {
    return index < tiles.trunk_tiles ? tiles.block.trunk_first + index * TILE_KEYS
                                     : tiles.block.own_first + (index - tiles.trunk_tiles) * TILE_KEYS;
}
DEVICE int tile_rows(const KeyTiles &tiles, int index) {
    const QueryBlock &block = tiles.block;
    const int end = index < tiles.trunk_tiles ? block.trunk_first + block.trunk_rows : block.first + block.rows;
    const int rows = end - tile_first(tiles, index);
    return rows < TILE_KEYS ? rows : TILE_KEYS;
}

// How many rows of tile `index` query row `row` sees.
DEVICE int seen_rows(const KeyTiles &tiles, int index, int row) {
    const int rows = tile_rows(tiles, index);
    const int own = row - tile_first(tiles, index) + 1;
    return index < tiles.trunk_tiles || own > rows ? rows : own;
}

// Begins to copy tile `index` of keys and of values to the two tiles at `to`.
DEVICE void copy_tile(bf16 *to, const KeyTiles &tiles, int index, const bf16 *keys, const bf16 *values, int head, Heads heads) {
    const size_t stride = (size_t)heads.key_value * HEAD_WIDTH;
    const size_t at = tile_first(tiles, index) * stride + head * HEAD_WIDTH;
    const int rows = tile_rows(tiles, index);
    copy_rows(to, keys + at, stride, rows, TILE_KEYS, ATTENTION_THREADS);
    copy_rows(to + TILE_KEYS * STRIDE, values + at, stride, rows, TILE_KEYS, ATTENTION_THREADS);
    copy_commit();
}

constexpr int KEY_TILE = TILE_KEYS * STRIDE;
constexpr int WARP_ROWS = 16;

// out [N, H, D] in bf16 and log_sums [N, H]. Grid: (blocks, H).
KERNEL(ATTENTION_THREADS, 1)
attention_forward(bf16 *out, float *log_sums, const bf16 *queries, const bf16 *keys, const bf16 *values,
                  const QueryBlock *blocks, Heads heads, float scale) {
    bf16 *query_tile = reinterpret_cast<bf16 *>(shared_bytes);
    bf16 *stages = query_tile + TILE_ROWS * STRIDE; // two times keys and values
    const KeyTiles tiles = key_tiles(blocks[blockIdx.x]);
    const QueryBlock &block = tiles.block;
    const int head = blockIdx.y, key_value_head = head / (heads.query / heads.key_value);
    const size_t stride = (size_t)heads.query * HEAD_WIDTH;
    copy_rows(query_tile, queries + block.first * stride + head * HEAD_WIDTH, stride, block.rows, TILE_ROWS, ATTENTION_THREADS);
    copy_tile(stages, tiles, 0, keys, values, key_value_head, heads);
    Rows rows;
    begin(rows);
    const int first = warp_index() * WARP_ROWS + lane_index() / 4;
    for (int index = 0; index < tiles.tiles; index++) {
        bf16 *stage = stages + index % 2 * 2 * KEY_TILE;
        copy_ahead(index + 1 < tiles.tiles, [&] {
            copy_tile(stages + (index + 1) % 2 * 2 * KEY_TILE, tiles, index + 1, keys, values, key_value_head, heads);
        });
        const int row = block.first + first;
        const int seen[2] = {seen_rows(tiles, index, row), seen_rows(tiles, index, row + 8)};
        attend(rows, query_tile + warp_index() * WARP_ROWS * STRIDE, stage, stage + KEY_TILE, seen, scale);
        __syncthreads();
    }
    finish(rows);
    for (int half = 0; half < 2; half++) {
        const int row = first + 8 * half;
        if (row >= block.rows) continue;
        const size_t at = (size_t)(block.first + row) * heads.query + head;
        write_row(out + at * HEAD_WIDTH, rows, half);
        if (lane_index() % 4 == 0) log_sums[at] = rows.sum[half];
    }
}

// delta [N, H] = Σ_d out·out_gradient, which is Σ_s p_s·∂p_s. One warp a head of a row; `count` is N·H.
KERNEL(THREADS) attention_delta(float *delta, const bf16 *out, const bf16 *out_gradient, int count) {
    const int index = blockIdx.x * (THREADS / 32) + warp_index();
    if (index >= count) return;
    float sum = 0.0f;
    for (int at = lane_index(); at < HEAD_WIDTH; at += 32) {
        const size_t place = (size_t)index * HEAD_WIDTH + at;
        sum = fmaf(value_of(out[place]), value_of(out_gradient[place]), sum);
    }
    sum = warp_sum(sum);
    if (lane_index() == 0) delta[index] = sum;
}

// query_gradient [N, H, D] f32: Σ_s ∂(q·k)_s·k_s over tiles of keys in order. Grid: (blocks, H).
KERNEL(ATTENTION_THREADS, 1)
attention_backward_queries(float *query_gradient, const bf16 *out_gradient, const float *log_sums, const float *delta,
                           const bf16 *queries, const bf16 *keys, const bf16 *values, const QueryBlock *blocks, Heads heads,
                           float scale) {
    bf16 *query_tile = reinterpret_cast<bf16 *>(shared_bytes), *out_tile = query_tile + TILE_ROWS * STRIDE;
    bf16 *stages = out_tile + TILE_ROWS * STRIDE;
    const KeyTiles tiles = key_tiles(blocks[blockIdx.x]);
    const QueryBlock &block = tiles.block;
    const int head = blockIdx.y, key_value_head = head / (heads.query / heads.key_value);
    const size_t stride = (size_t)heads.query * HEAD_WIDTH, start = block.first * stride + head * HEAD_WIDTH;
    copy_rows(query_tile, queries + start, stride, block.rows, TILE_ROWS, ATTENTION_THREADS);
    copy_rows(out_tile, out_gradient + start, stride, block.rows, TILE_ROWS, ATTENTION_THREADS);
    copy_tile(stages, tiles, 0, keys, values, key_value_head, heads);
    float sum[WIDTH_COLUMNS][4] = {};
    const int first = warp_index() * WARP_ROWS;
    float log_sum[2], row_delta[2];
    for (int half = 0; half < 2; half++) {
        const int row = first + lane_index() / 4 + 8 * half;
        const size_t at = (size_t)(block.first + row) * heads.query + head;
        log_sum[half] = row < block.rows ? log_sums[at] : 0.0f;
        row_delta[half] = row < block.rows ? delta[at] : 0.0f;
    }
    for (int index = 0; index < tiles.tiles; index++) {
        bf16 *stage = stages + index % 2 * 2 * KEY_TILE;
        copy_ahead(index + 1 < tiles.tiles, [&] {
            copy_tile(stages + (index + 1) % 2 * 2 * KEY_TILE, tiles, index + 1, keys, values, key_value_head, heads);
        });
        float weight[KEY_COLUMNS][4] = {}, weight_gradient[KEY_COLUMNS][4] = {};
        add_products(weight, query_tile + first * STRIDE, stage);
        add_products(weight_gradient, out_tile + first * STRIDE, stage + KEY_TILE);
#pragma unroll
        for (int column = 0; column < KEY_COLUMNS; column++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const bool sees = column_of(column, i) < seen_rows(tiles, index, block.first + first + row_of(i));
                const float p = sees ? exponential(weight[column][i] * scale - log_sum[i / 2]) : 0.0f;
                weight[column][i] = score_gradient(p, weight_gradient[column][i], row_delta[i / 2], scale);
            }
        }
        add_weighted(sum, weight, stage);
        __syncthreads();
    }
    for (int column = 0; column < WIDTH_COLUMNS; column++) {
        for (int i = 0; i < 4; i++) {
            const int row = first + row_of(i), place = column_of(column, i);
            if (row >= block.rows || place >= HEAD_WIDTH) continue;
            query_gradient[((size_t)(block.first + row) * heads.query + head) * HEAD_WIDTH + place] = sum[column][i];
        }
    }
}
