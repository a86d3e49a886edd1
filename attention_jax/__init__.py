"""Attention as three pure functions: a score, a normaliser, an average.

    e_i = score(q, k_i)      a = normalizer(e)      o = Σ_i a_i v_i

`attend` composes them for one query; `attention` is the same for any number of queries
and leading axes, compiled. Everything public is importable from here; masks as
`attention_jax.masks`.
"""

import importlib
from typing import TYPE_CHECKING, Any

from attention_jax import masks, moved, serialization
from attention_jax.attention import (
    Attended,
    AttentionOutput,
    attend,
    attention,
    attention_rows,
    average,
    explain_attention,
    implementation_names,
    prepare_keys,
)
from attention_jax.dot_product import dot_product_attention
from attention_jax.errors import DuplicateNameError, UnknownNameError, UserError
from attention_jax.functions.normalizer import (
    Normalizer,
    get_normalizer,
    normalizer_names,
    register_normalizer,
)
from attention_jax.functions.params import Param, log_constant
from attention_jax.functions.prepared import PreparedKeys
from attention_jax.functions.score import (
    Score,
    call_inner,
    get_score,
    init_score_params,
    register_score,
    score_names,
    wrap,
)
from attention_jax.kernels.explain import Explanation
from attention_jax.masks import Mask
from attention_jax.normalizers import (
    entmax15,
    hardmax,
    sigmoid,
    softmax,
    softmax_one,
    sparsemax,
    top_k_softmax,
)
from attention_jax.score_modifiers import from_score_mod, soft_cap, with_alibi
from attention_jax.scores import (
    additive,
    bilinear,
    cosine,
    dot,
    euclidean,
    local_gaussian,
    location,
    low_rank_bilinear,
    project_keys,
    scaled_dot,
)
from attention_jax.statistics import statistic_names, top_k

if TYPE_CHECKING:
    from attention_jax.evaluation.plots import plot_weights
    from attention_jax.nn.attention import Attention
    from attention_jax.nn.kv_cache import KVCache
    from attention_jax.nn.multi_head import MultiHeadAttention
    from attention_jax.run import load_run
    from attention_jax.testing.check_score import (
        CheckResult,
        ScoreReport,
        check_score,
    )

__version__ = "0.1.0"

moved.install()
serialization.register()

# Imported on first use: flax, orbax and matplotlib take seconds that `attention` needs not.
_LATE = {
    "Attention": "attention_jax.nn.attention",
    "CheckResult": "attention_jax.testing.check_score",
    "KVCache": "attention_jax.nn.kv_cache",
    "MultiHeadAttention": "attention_jax.nn.multi_head",
    "ScoreReport": "attention_jax.testing.check_score",
    "check_score": "attention_jax.testing.check_score",
    "load_run": "attention_jax.run",
    "plot_weights": "attention_jax.evaluation.plots",
}


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(importlib.import_module(_LATE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATE})


__all__ = [
    "Attended",
    "Attention",
    "AttentionOutput",
    "CheckResult",
    "DuplicateNameError",
    "Explanation",
    "KVCache",
    "Mask",
    "MultiHeadAttention",
    "Normalizer",
    "Param",
    "PreparedKeys",
    "Score",
    "ScoreReport",
    "UnknownNameError",
    "UserError",
    "additive",
    "attend",
    "attention",
    "attention_rows",
    "average",
    "bilinear",
    "call_inner",
    "check_score",
    "cosine",
    "dot",
    "dot_product_attention",
    "entmax15",
    "euclidean",
    "explain_attention",
    "from_score_mod",
    "get_normalizer",
    "get_score",
    "hardmax",
    "implementation_names",
    "init_score_params",
    "load_run",
    "local_gaussian",
    "location",
    "log_constant",
    "low_rank_bilinear",
    "masks",
    "normalizer_names",
    "plot_weights",
    "prepare_keys",
    "project_keys",
    "register_normalizer",
    "register_score",
    "scaled_dot",
    "score_names",
    "sigmoid",
    "soft_cap",
    "softmax",
    "softmax_one",
    "sparsemax",
    "statistic_names",
    "top_k",
    "top_k_softmax",
    "with_alibi",
    "wrap",
]
