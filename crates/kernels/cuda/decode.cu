// Attention of one new position of each sequence over cached keys and values, in pages of TILE_KEYS positions. The pages of
// a prompt are shared by the sequences of its group, and read once for up to 16 rows: a row is a query head of a sequence.
#include "softmax.cuh"

// Pages: keys and values [pages, K, TILE_KEYS, D] each.
struct Cache {
    const bf16 *keys, *values;
    // Page numbers, of all prompts and sequences one after another.
    const int *table;
};

// Neighbouring sequences of one group whose rows fill 16, or none; their prompt's pages begin at `pages` of the table.
struct SequenceTile {
    int first, sequences, pages, positions;
};

// A sequence's own pages, and its positions, the new one included.
struct Sequence {
    int pages, positions;
};

// Where the walk over pages stands: part 0 is the prompt, part i the i-th sequence of the tile.
struct Place {
    int part, page;
};

struct Walk {
    SequenceTile tile;
    const Sequence *sequences;
};

DEVICE Sequence part_of(const Walk &walk, int part) {
    return part == 0 ? Sequence{walk.tile.pages, walk.tile.positions} : walk.sequences[walk.tile.first + part - 1];
}

// Moves `place` to the next page; false when there is none.
DEVICE bool advance(const Walk &walk, Place &place) {
    place.page++;
    while (place.part <= walk.tile.sequences && place.page * TILE_KEYS >= part_of(walk, place.part).positions) {
        place = {place.part + 1, 0};
    }
    return place.part <= walk.tile.sequences;
}

DEVICE int positions_at(const Walk &walk, const Place &place) {
    const int left = part_of(walk, place.part).positions - place.page * TILE_KEYS;
    return left < TILE_KEYS ? left : TILE_KEYS;
}

DEVICE void copy_page(bf16 *to, const Walk &walk, const Place &place, const Cache &cache, int head, int heads) {
    const int page = cache.table[part_of(walk, place.part).pages + place.page];
    const size_t at = ((size_t)page * heads + head) * TILE_KEYS * HEAD_WIDTH;
    copy_rows(to, cache.keys + at, HEAD_WIDTH, positions_at(walk, place), TILE_KEYS, 32);
    copy_rows(to + TILE_KEYS * STRIDE, cache.values + at, HEAD_WIDTH, positions_at(walk, place), TILE_KEYS, 32);
}

// out [B, H, D] in bf16 for queries [B, H, D]; one warp a tile of sequences and key-value head. `query_heads` is H,
// `heads` K; H/K is at most 16. Rows of sequences that are in no tile stay as they are. Grid: (tiles, K).
KERNEL(32, 1)
attention_decode(bf16 *out, const bf16 *queries, Cache cache, const SequenceTile *tiles, const Sequence *sequences,
                 int query_heads, int heads, float scale) {
    bf16 *query_tile = reinterpret_cast<bf16 *>(shared_bytes);
    bf16 *stages = query_tile + 16 * STRIDE; // two times keys and values
    const Walk walk = {tiles[blockIdx.x], sequences};
    if (walk.tile.sequences == 0) return;
    const int head = blockIdx.y, ratio = query_heads / heads;
    const int rows_there = walk.tile.sequences * ratio;
    // Row r is query head r % ratio of sequence r / ratio; a sequence's rows are neighbours in memory.
    for (int sequence = 0; sequence < walk.tile.sequences; sequence++) {
        const size_t at = ((size_t)(walk.tile.first + sequence) * query_heads + head * ratio) * HEAD_WIDTH;
        copy_rows(query_tile + sequence * ratio * STRIDE, queries + at, HEAD_WIDTH, ratio, ratio, 32);
    }
    copy_rows(query_tile + rows_there * STRIDE, queries, HEAD_WIDTH, 0, 16 - rows_there, 32);
    Rows rows;
    begin(rows);
    Place place = {0, -1}, next;
    bool is_there = advance(walk, place);
    if (is_there) copy_page(stages, walk, place, cache, head, heads);
    copy_commit();
    for (int stage = 0; is_there; stage = 1 - stage) {
        next = place;
        const bool is_next = advance(walk, next);
        if (is_next) copy_page(stages + (1 - stage) * 2 * TILE_KEYS * STRIDE, walk, next, cache, head, heads);
        copy_commit();
        copy_wait<1>();
        __syncwarp();
        const int count = positions_at(walk, place);
        int seen[2];
        for (int half = 0; half < 2; half++) {
            const int row = lane_index() / 4 + 8 * half;
            const bool sees = row < rows_there && (place.part == 0 || row / ratio == place.part - 1);
            seen[half] = sees ? count : 0;
        }
        const bf16 *keys = stages + stage * 2 * TILE_KEYS * STRIDE;
        attend(rows, query_tile, keys, keys + TILE_KEYS * STRIDE, seen, scale);
        __syncwarp();
        place = next;
        is_there = is_next;
    }
    finish(rows);
    for (int half = 0; half < 2; half++) {
        const int row = lane_index() / 4 + 8 * half;
        if (row >= rows_there) continue;
        const size_t at = (size_t)(walk.tile.first + row / ratio) * query_heads + head * ratio + row % ratio;
        write_row(out + at * HEAD_WIDTH, rows, half);
    }
}

// Puts new keys and values [N, K, D] into the cache: row n at position slots[n] % TILE_KEYS of page slots[n] / TILE_KEYS,
// and nowhere where slots[n] is negative.
// One warp a head of a row; eight numbers a lane.
KERNEL(THREADS)
cache_append(bf16 *cached_keys, bf16 *cached_values, const bf16 *keys, const bf16 *values, const int *slots, int count,
             int heads) {
    const int index = blockIdx.x * (THREADS / 32) + warp_index();
    if (index >= count * heads) return;
    const int slot = slots[index / heads], head = index % heads;
    if (slot < 0) return;
    const size_t from = (size_t)index * HEAD_WIDTH;
    const size_t to = (((size_t)(slot / TILE_KEYS) * heads + head) * TILE_KEYS + slot % TILE_KEYS) * HEAD_WIDTH;
    for (int at = lane_index() * 8; at < HEAD_WIDTH; at += 256) {
        *reinterpret_cast<uint4 *>(cached_keys + to + at) = *reinterpret_cast<const uint4 *>(keys + from + at);
        *reinterpret_cast<uint4 *>(cached_values + to + at) = *reinterpret_cast<const uint4 *>(values + from + at);
    }
}
