"""`additive` as its formula is written, with no thought for speed: what it is measured against.

    python -m experiments.benchmark_attention --workloads=additive_512 --peers=none \\
        --scores=additive,experiments/benchmarks/plain_additive.py:plain_additive
"""

import jax.numpy as jnp

from attention_jax import project_keys, register_score


@register_score(
    params={"w_query": "QA", "w_key": "KA", "v": "A"},
    prepare=project_keys,
)
def plain_additive(query, keys, *, w_query, w_key, v):
    """vᵀ tanh(W_q q + W_k k)."""
    del w_key
    return jnp.tanh(keys + jnp.broadcast_to(query @ w_query, keys.shape)) @ v
