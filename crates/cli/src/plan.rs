//! What a plan of memory says to whoever starts something.

use rl::estimate::{Plan, gibibytes};

use crate::table::counted;

/// `about 3.10 GiB of 4.00 GiB; completions wait for room in a key-value cache of 0.50 GiB; the first 4 of 30 layers are
/// computed again in the backward`: `plan` for `limit_bytes`, where those are known, and a model of `layers`.
pub(crate) fn described(plan: &Plan, limit_bytes: Option<u64>, layers: usize) -> String {
    let of = limit_bytes.map_or_else(String::new, |limit| format!(" of {}", gibibytes(limit)));
    let mut parts = vec![format!("about {}{of}", gibibytes(plan.estimate.total()))];
    if plan.cache_bytes_max > 0 {
        let room = gibibytes(plan.cache_bytes_max as u64);
        parts.push(format!("completions wait for room in a key-value cache of {room}"));
    }
    if plan.recomputed_layers > 0 {
        let (first, layers) = (plan.recomputed_layers, counted(layers, "layer"));
        parts.push(format!("the first {first} of {layers} are computed again in the backward"));
    }
    parts.join("; ")
}
