"""Shaping, verification and diagnostics of GRPO-λ (arXiv 2505.18086), computed by the Rust crates of `brevity`.

B is the number of completions of a batch, in any order; a completion belongs to the group of its prompt.
Arrays of the exact types named are read where they lie; others are converted first.

| what | where |
|---|---|
| whether a completion is correct | `verify`, `verify_batch`, `check_golds` |
| rewards and advantages of a batch | `shape`, `Shaper`, `Shaped`, `advantages`, `cost`, `shaper_names` |
| whether a run collapses | `CollapseWatch` |
| what a run left on disk | `Run` |
| completions from a model directory | `Model`, `sample` |
| TRL | `brevity_rl.trl.GRPOLambdaTrainer` |
| verl | `VERL_USE_EXTERNAL_MODULES=brevity_rl.verl` |
"""

from brevity_rl._native import VERSION as __version__
from brevity_rl.collapse import CollapseWatch
from brevity_rl.runs import Run
from brevity_rl.sampling import Completion, Model, sample
from brevity_rl.shaping import Shaped, Shaper, advantages, cost, shape, shaper_names
from brevity_rl.verification import Check, Checks, check_golds, verify, verify_batch

__all__ = [
    "Check",
    "Checks",
    "CollapseWatch",
    "Completion",
    "Model",
    "Run",
    "Shaped",
    "Shaper",
    "__version__",
    "advantages",
    "check_golds",
    "cost",
    "sample",
    "shape",
    "shaper_names",
    "verify",
    "verify_batch",
]
