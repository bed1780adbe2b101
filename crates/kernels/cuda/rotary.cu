// The norm of each head (arXiv 1910.07467 over D values) and the rotary position embedding (arXiv 2104.09864) in the
// half-split form of Hugging Face checkpoints. D is HEAD_WIDTH, even; one warp a head of a row, so that a lane has the
// pairs lane, lane + 32, …: the numbers i and D/2 + i.
#include "base.cuh"

constexpr int PAIRS = HEAD_WIDTH / 2;
constexpr int LANE_PAIRS = (PAIRS + 31) / 32;

// A lane's numbers of a head.
struct Head {
    float first[LANE_PAIRS], second[LANE_PAIRS];
};

DEVICE Head load_head(const float *head) {
    Head out;
    for (int i = 0; i < LANE_PAIRS; i++) {
        const int pair = lane_index() + 32 * i;
        out.first[i] = pair < PAIRS ? head[pair] : 0.0f;
        out.second[i] = pair < PAIRS ? head[PAIRS + pair] : 0.0f;
    }
    return out;
}

// Σ a·b over the head.
DEVICE float dot(const Head &a, const Head &b) {
    float sum = 0.0f;
    for (int i = 0; i < LANE_PAIRS; i++) sum = fmaf(a.second[i], b.second[i], fmaf(a.first[i], b.first[i], sum));
    return warp_sum(sum);
}

DEVICE float inverse_rms(const Head &head, float epsilon) {
    return 1.0f / sqrtf(dot(head, head) / (float)HEAD_WIDTH + epsilon);
}

// Rotates by the angle of `position`, or by its negative where `sign` is −1.
DEVICE void rotate(Head &head, const float *cosines, const float *sines, u32 position, float sign) {
    for (int i = 0; i < LANE_PAIRS; i++) {
        const int pair = lane_index() + 32 * i;
        if (pair >= PAIRS) continue;
        const float c = cosines[(size_t)position * PAIRS + pair], s = sign * sines[(size_t)position * PAIRS + pair];
        const float a = head.first[i], b = head.second[i];
        head.first[i] = fmaf(a, c, -(b * s));
        head.second[i] = fmaf(b, c, a * s);
    }
}

// out = rotated(norm(rows)), rounded to bf16, since the attention's products read it. A null `weight` leaves out the norm,
// null `cosines` the rotation.
// Shapes: out and rows [N, heads, D], weight [D], cosines and sines [positions, D/2], positions [N].
KERNEL(THREADS)
head_forward(bf16 *out, const float *rows, const float *weight, float epsilon, const float *cosines, const float *sines,
             const u32 *positions, int count, int heads) {
    const int index = blockIdx.x * (THREADS / 32) + warp_index();
    if (index >= count * heads) return;
    Head head = load_head(rows + (size_t)index * HEAD_WIDTH);
    if (weight) {
        const float r = inverse_rms(head, epsilon);
        const Head w = load_head(weight);
        for (int i = 0; i < LANE_PAIRS; i++) {
            head.first[i] = head.first[i] * r * w.first[i];
            head.second[i] = head.second[i] * r * w.second[i];
        }
    }
    if (cosines) rotate(head, cosines, sines, positions[index / heads], 1.0f);
    for (int i = 0; i < LANE_PAIRS; i++) {
        const int pair = lane_index() + 32 * i;
        if (pair >= PAIRS) continue;
        out[(size_t)index * HEAD_WIDTH + pair] = rounded(head.first[i]);
        out[(size_t)index * HEAD_WIDTH + PAIRS + pair] = rounded(head.second[i]);
    }
}

// Replaces `gradient` of the forward's output by that of its input, in f32, and leaves it in bf16 in `factors` for
// products. partial [chunks, D] gets Σ g·x·r of each chunk of CHUNK_HEADS heads, for `add_chunks`; a warp of the block
// takes every eighth head of a chunk, and their sums are added in order. One block a chunk. Shapes as in the forward.
KERNEL(THREADS)
head_backward(float *gradient, bf16 *factors, float *partial, const float *rows, const float *weight, float epsilon,
              const float *cosines, const float *sines, const u32 *positions, int count, int heads) {
    constexpr int WARPS = THREADS / 32;
    float *sums = reinterpret_cast<float *>(shared_bytes); // [WARPS, D]
    const int first = blockIdx.x * CHUNK_HEADS, total = count * heads;
    const Head w = load_head(weight ? weight : rows);
    Head sum = {};
    for (int index = first + warp_index(); index < first + CHUNK_HEADS && index < total; index += WARPS) {
        Head g = load_head(gradient + (size_t)index * HEAD_WIDTH);
        if (cosines) rotate(g, cosines, sines, positions[index / heads], -1.0f);
        if (weight) {
            const Head x = load_head(rows + (size_t)index * HEAD_WIDTH);
            const float r = inverse_rms(x, epsilon);
            for (int i = 0; i < LANE_PAIRS; i++) {
                sum.first[i] = fmaf(g.first[i], x.first[i] * r, sum.first[i]);
                sum.second[i] = fmaf(g.second[i], x.second[i] * r, sum.second[i]);
                g.first[i] *= w.first[i];
                g.second[i] *= w.second[i];
            }
            // dx = r·(g·w) − x·r³/D·Σ(g·w·x)
            const float projection = dot(g, x) * r * r * r / (float)HEAD_WIDTH;
            for (int i = 0; i < LANE_PAIRS; i++) {
                g.first[i] = fmaf(-projection, x.first[i], g.first[i] * r);
                g.second[i] = fmaf(-projection, x.second[i], g.second[i] * r);
            }
        }
        for (int i = 0; i < LANE_PAIRS; i++) {
            const int pair = lane_index() + 32 * i;
            if (pair >= PAIRS) continue;
            const size_t at = (size_t)index * HEAD_WIDTH + pair;
            gradient[at] = g.first[i];
            gradient[at + PAIRS] = g.second[i];
            factors[at] = rounded(g.first[i]);
            factors[at + PAIRS] = rounded(g.second[i]);
        }
    }
    if (!weight) return;
    for (int i = 0; i < LANE_PAIRS; i++) {
        const int pair = lane_index() + 32 * i;
        if (pair >= PAIRS) continue;
        sums[warp_index() * HEAD_WIDTH + pair] = sum.first[i];
        sums[warp_index() * HEAD_WIDTH + PAIRS + pair] = sum.second[i];
    }
    __syncthreads();
    for (int column = threadIdx.x; column < HEAD_WIDTH; column += THREADS) {
        float all = 0.0f;
        for (int warp = 0; warp < WARPS; warp++) all += sums[warp * HEAD_WIDTH + column];
        partial[(size_t)blockIdx.x * HEAD_WIDTH + column] = all;
    }
}
