// Draws a token from a row of logits, already divided by the temperature: top-k, then top-p, then by inverting the
// cumulative distribution at one uniform number, by the rules of ../src/sample.rs. One block of threads a row.
//
// Without top-k and top-p the sums of the vocabulary blocks are at hand, and the cumulative distribution runs in token order.
// With them it runs by falling probability, lower tokens first among equals, and nothing is sorted: three times the
// numbers are walked down digit by digit from the largest, until as many tokens, or as much weight, lie above as is looked
// for. Weights are counted in units of 2⁻⁴⁵ of the largest, as integers, so that the order of their additions can't matter.
#include "base.cuh"

// As in head.cu.
struct BlockSum {
    float largest, weight, below;
};

struct Sampling {
    float temperature; // 0 takes the most likely token
    int top_k;         // 0 keeps all
    float top_p;       // 1 keeps all
};

struct Drawn {
    u32 token;
    float logprob, entropy; // nats, of the distribution that was drawn from; at temperature 0 of that at temperature 1
};

// Over kept tokens: Σ exp(logit − largest) and Σ exp(logit − largest)·(logit − largest), f64, and the first in units.
struct Sums {
    double weight, below;
    u64 units;
};

// Shared memory of a block.
struct Scratch {
    u64 digits[256];
    Sums sums[SAMPLE_THREADS / 32];
    u64 above;
    u32 chosen;
    double masses[SAMPLE_BLOCKS_MAX];
};

DEVICE Scratch &scratch() { return *reinterpret_cast<Scratch *>(shared_bytes); }

// Larger keys for larger logits, as total order has it.
DEVICE u32 key_of(float logit) {
    const u32 bits = __float_as_uint(logit);
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}

// The logit that has a key.
DEVICE float logit_of(u32 key) { return __uint_as_float(key >> 31 ? key & 0x7fffffffu : ~key); }

// Weight in units of 2⁻⁴⁵; 2¹⁸ tokens of the largest weight still fit 64 bits.
DEVICE u64 units_of(float logit, float largest) {
    const double distance = (double)logit - (double)largest;
    return (u64)(exp(distance) * 35184372088832.0);
}

// Of a row's tokens those kept so far: keys above `key`, and of the tokens with that key itself the first `ties`.
struct Kept {
    u32 key;
    u32 ties;
};

struct Row {
    const float *logits;
    int vocabulary;
    float largest;
};

// What a token counts for when a walk adds up.
struct CountTokens {
    DEVICE u64 of(float, float) { return 1; }
};
struct CountWeight {
    DEVICE u64 of(float logit, float largest) { return units_of(logit, largest); }
};

// The key at which the running sum over kept tokens, by falling key, first exceeds `limit`; of it the sum above. Tokens of
// the kept key count one by one. All threads get both. The sum over all kept tokens must exceed `limit`.
template <class Count> DEVICE u32 walk_down(const Row &row, const Kept &kept, u64 limit, u64 &above) {
    Scratch &s = scratch();
    u32 key = 0;
    above = 0;
    for (int shift = 24; shift >= 0; shift -= 8) {
        for (int digit = threadIdx.x; digit < 256; digit += SAMPLE_THREADS) s.digits[digit] = 0;
        __syncthreads();
        for (int token = threadIdx.x; token < row.vocabulary; token += SAMPLE_THREADS) {
            const u32 own = key_of(row.logits[token]);
            const bool has_prefix = shift == 24 || own >> (shift + 8) == key >> (shift + 8);
            if (own > kept.key && has_prefix) atomicAdd(&s.digits[own >> shift & 255], Count::of(row.logits[token], row.largest));
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            // All tokens of one key weigh the same, so the kept ones of the last key are a product.
            const bool has_prefix = shift == 24 || kept.key >> (shift + 8) == key >> (shift + 8);
            if (has_prefix && kept.ties > 0) {
                s.digits[kept.key >> shift & 255] += kept.ties * Count::of(logit_of(kept.key), row.largest);
            }
            u64 sum = above;
            int digit = 255;
            while (digit > 0 && sum + s.digits[digit] <= limit) sum += s.digits[digit--];
            s.above = sum;
            s.chosen = digit;
        }
        __syncthreads();
        above = s.above;
        key |= s.chosen << shift;
        __syncthreads();
    }
    return key;
}

// The token at place `place`, from 0, among those whose key is `key`, in token order. One thread asks.
DEVICE u32 token_at(const Row &row, u32 key, u64 place) {
    u32 last = 0;
    for (int token = 0; token < row.vocabulary; token++) {
        if (key_of(row.logits[token]) != key) continue;
        last = token;
        if (place-- == 0) break;
    }
    return last;
}

// How many tokens have this key. All threads get it.
DEVICE u32 tokens_of(const Row &row, u32 key) {
    Scratch &s = scratch();
    if (threadIdx.x == 0) s.chosen = 0;
    __syncthreads();
    for (int token = threadIdx.x; token < row.vocabulary; token += SAMPLE_THREADS) {
        if (key_of(row.logits[token]) == key) atomicAdd(&s.chosen, 1u);
    }
    __syncthreads();
    const u32 count = s.chosen;
    __syncthreads();
    return count;
}

// In a fixed order; all threads get them.
DEVICE Sums sums_of(const Row &row, const Kept &kept) {
    Scratch &s = scratch();
    Sums sum = {0.0, 0.0, 0};
    for (int token = threadIdx.x; token < row.vocabulary; token += SAMPLE_THREADS) {
        if (key_of(row.logits[token]) <= kept.key) continue;
        const double distance = (double)row.logits[token] - (double)row.largest, weight = exp(distance);
        sum.weight += weight;
        if (weight > 0.0) sum.below += weight * distance;
        sum.units += units_of(row.logits[token], row.largest);
    }
    sum = {warp_sum(sum.weight), warp_sum(sum.below), warp_sum(sum.units)};
    if (lane_index() == 0) s.sums[warp_index()] = sum;
    __syncthreads();
    sum = {0.0, 0.0, 0};
    for (int warp = 0; warp < SAMPLE_THREADS / 32; warp++) {
        sum = {sum.weight + s.sums[warp].weight, sum.below + s.sums[warp].below, sum.units + s.sums[warp].units};
    }
    __syncthreads();
    if (kept.ties > 0) {
        const float tied = logit_of(kept.key);
        const double distance = (double)tied - (double)row.largest, weight = kept.ties * exp(distance);
        sum.weight += weight;
        if (weight > 0.0) sum.below += weight * distance;
        sum.units += kept.ties * units_of(tied, row.largest);
    }
    return sum;
}

// `uniform` of `total`, but at least 2⁻⁵³ of it, so that a weight too small to count is not drawn at 0.
DEVICE double share_of(double uniform, double total) {
    const double least = 1.1102230246251565e-16;
    return (uniform > least ? uniform : least) * total;
}

// A token by top-k and top-p. Thread 0 gets it.
DEVICE Drawn draw_restricted(const Row &row, const Sampling &sampling, double uniform) {
    Kept kept = {0, 0};
    u64 above;
    if (sampling.top_k > 0 && sampling.top_k < row.vocabulary) {
        const u32 key = walk_down<CountTokens>(row, kept, (u64)sampling.top_k - 1, above);
        kept = {key, (u32)(sampling.top_k - above)};
    }
    if (sampling.top_p < 1.0f) {
        // A token is kept when less than top_p lies before it: the last one kept is that at which the sum reaches top_p.
        const u64 wanted = (u64)ceil((double)sampling.top_p * (double)sums_of(row, kept).units);
        const u64 limit = wanted > 0 ? wanted - 1 : 0;
        const u32 key = walk_down<CountWeight>(row, kept, limit, above);
        const u64 there = key == kept.key ? kept.ties : tokens_of(row, key);
        const u64 ties = (limit - above) / units_of(logit_of(key), row.largest) + 1;
        kept = {key, (u32)(ties < there ? ties : there)};
    }
    const Sums sum = sums_of(row, kept);
    const u64 share = (u64)share_of(uniform, (double)sum.units), limit = share < sum.units ? share : sum.units - 1;
    const u32 key = walk_down<CountWeight>(row, kept, limit, above);
    if (threadIdx.x != 0) return {};
    const u32 token = token_at(row, key, (limit - above) / units_of(logit_of(key), row.largest));
    const double natural = log(sum.weight);
    return {token, logit_of(key) - (row.largest + (float)natural), (float)(natural - sum.below / sum.weight)};
}

// Index of the largest number, the first among equals; all threads get it.
DEVICE u32 most_likely(const float *numbers, int count) {
    Scratch &s = scratch();
    u64 best = 0;
    for (int at = threadIdx.x; at < count; at += SAMPLE_THREADS) {
        const float number = numbers[at] == 0.0f ? 0.0f : numbers[at];
        const u64 own = (u64)key_of(number) << 32 | (0xffffffffu - (u32)at);
        best = own > best ? own : best;
    }
    best = warp_max(best);
    if (lane_index() == 0) s.digits[warp_index()] = best;
    __syncthreads();
    for (int warp = 0; warp < SAMPLE_THREADS / 32; warp++) best = s.digits[warp] > best ? s.digits[warp] : best;
    __syncthreads();
    return 0xffffffffu - (u32)best;
}

// The token at which the running sum of weights, in token order, exceeds `uniform` of the total: first its block, then within
// it. One thread asks; `masses` holds the blocks' weights.
DEVICE u32 invert(const Row &row, const BlockSum *sums, int blocks, double uniform) {
    const Scratch &s = scratch();
    double total = 0.0;
    for (int block = 0; block < blocks; block++) total += s.masses[block];
    const double threshold = share_of(uniform, total);
    // The last block with any weight at all serves where rounding leaves the sum below the threshold.
    double before = 0.0, chosen_before = 0.0;
    int chosen = 0;
    for (int block = 0; block < blocks; block++) {
        if (s.masses[block] > 0.0) chosen = block, chosen_before = before;
        before += s.masses[block];
        if (before > threshold) break;
    }
    const int first = chosen * VOCABULARY_BLOCK;
    const int end = first + VOCABULARY_BLOCK < row.vocabulary ? first + VOCABULARY_BLOCK : row.vocabulary;
    const float largest = sums[chosen].largest;
    const double within = (threshold - chosen_before) / (s.masses[chosen] / (double)sums[chosen].weight);
    double sum = 0.0;
    int likeliest = first;
    for (int token = first; token < end; token++) {
        sum += (double)exponential(row.logits[token] - largest);
        if (sum > within) return token;
        if (row.logits[token] > row.logits[likeliest]) likeliest = token;
    }
    return likeliest;
}

// out [N] for logits [N, V] with their block sums [N, blocks], at uniforms [N] in [0, 1).
KERNEL(SAMPLE_THREADS, 1)
sample(Drawn *out, const float *logits, const BlockSum *sums, const double *uniforms, Sampling sampling, int vocabulary,
       int blocks) {
    Scratch &s = scratch();
    sums += (size_t)blockIdx.x * blocks;
    float largest = -infinity();
    bool has_order = true;
    for (int block = 0; block < blocks; block++) {
        largest = fmaxf(largest, sums[block].largest);
        // Of logits that are not numbers, or have no largest.
        has_order = has_order && sums[block].weight < infinity();
    }
    const Row row = {logits + (size_t)blockIdx.x * vocabulary, vocabulary, largest};
    const double uniform = uniforms[blockIdx.x];
    if (sampling.temperature > 0.0f && (sampling.top_k > 0 || sampling.top_p < 1.0f)) {
        const float no_number = infinity() - infinity();
        const Drawn drawn = has_order ? draw_restricted(row, sampling, uniform) : Drawn{0, no_number, no_number};
        if (threadIdx.x == 0) out[blockIdx.x] = drawn;
        return;
    }
    for (int block = threadIdx.x; block < blocks; block += SAMPLE_THREADS) {
        s.masses[block] = (double)sums[block].weight * exp((double)sums[block].largest - (double)largest);
    }
    const u32 likeliest = most_likely(row.logits, vocabulary);
    if (threadIdx.x != 0) return;
    double sum = 0.0, below = 0.0;
    for (int block = 0; block < blocks; block++) {
        const double distance = (double)sums[block].largest - (double)largest;
        sum += s.masses[block];
        below += exp(distance) * ((double)sums[block].below + (double)sums[block].weight * distance);
    }
    const u32 token = sampling.temperature > 0.0f ? invert(row, sums, blocks, uniform) : likeliest;
    const double natural = log(sum);
    out[blockIdx.x] = {token, row.logits[token] - (largest + (float)natural), (float)(natural - below / sum)};
}
