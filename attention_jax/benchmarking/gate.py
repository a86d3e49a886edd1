"""The gate before the clock: is what a candidate computes right?"""

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.attention import attention
from attention_jax.benchmarking.candidates import OUTPUTS, xla_facts
from attention_jax.benchmarking.cases import GRADIENT, Case, Inputs, flops

# Largest error over largest expected magnitude, (forward, gradient).
TOLERANCES = {
    "float64": (1e-10, 1e-9),
    "float32": (1e-4, 5e-4),
    "bfloat16": (4e-2, 8e-2),
    "float16": (5e-3, 1e-2),
}
# Accelerators multiply float32 matrices with fewer bits unless told otherwise.
ACCELERATOR_FLOAT32 = (5e-3, 2e-2)

# The reference works through blocks of rows whose temporaries stay within this.
REFERENCE_BYTES = 512 * 2**20
# Up to here the reference is computed in float64, in float32 beyond.
FLOAT64_FLOPS = 2e9


def tolerance(case: Case) -> float:
    """The largest relative error of a case that passes."""
    forward, gradient = TOLERANCES[case.dtype]
    if case.dtype == "float32" and jax.default_backend() != "cpu":
        forward, gradient = ACCELERATOR_FLOAT32
    return gradient if case.which == GRADIENT else forward


def expected(case: Case, inputs: Inputs) -> dict[str, np.ndarray]:
    """The right answer: "context", and for gradients "query", "keys" and "values".

    The `reference` implementation at full precision, in float64 where that is cheap, by
    blocks of queries: rows do not depend on each other, so that the blocks' gradients by
    keys and values add up.
    """
    double = case.dtype == "float64" or flops(case) <= FLOAT64_FLOPS
    with jax.enable_x64(double), jax.default_matmul_precision("highest"):
        return _by_blocks(case, inputs, jnp.dtype("float64" if double else "float32"))


def _by_blocks(case: Case, inputs: Inputs, dtype: jnp.dtype) -> dict[str, np.ndarray]:
    backward = case.which == GRADIENT
    length = case.workload.T
    keys, values = (jnp.asarray(a, dtype) for a in (inputs.keys, inputs.values))
    params = {name: jnp.asarray(p, dtype) for name, p in inputs.params.items()}
    mask = case.workload.mask.build(inputs.key_lengths)

    @jax.jit
    def block(query, keys, values, positions, cotangent, params, mask):
        def attend(query, keys, values):
            return attention(
                query,
                keys,
                values,
                score=case.score,
                normalizer=case.normalizer,
                params=params,
                mask=mask,
                query_positions=positions,
                implementation="reference",
            ).context

        if not backward:
            return (attend(query, keys, values),)
        context, pull = jax.vjp(attend, query, keys, values)
        return (context, *pull(cotangent))

    def arguments(start: int, rows: int):
        stop = start + rows
        return (
            jnp.asarray(inputs.query[..., start:stop, :], dtype),
            keys,
            values,
            jnp.arange(start, stop),
            jnp.asarray(inputs.cotangent[..., start:stop, :], dtype),
            params,
            mask,
        )

    rows = length
    while rows > 1:
        compiled = block.lower(*arguments(0, rows)).compile()
        needed = xla_facts(compiled).get("temp_bytes", 0)
        if needed <= REFERENCE_BYTES:
            break
        rows = _divisor(length, min(rows - 1, int(rows * REFERENCE_BYTES // needed)))
    by_row: dict[str, list[np.ndarray]] = {"context": [], "query": []}
    summed: dict[str, np.ndarray | int] = {"keys": 0, "values": 0}
    for start in range(0, length, rows):
        results = map(np.asarray, block(*arguments(start, rows)))
        for name, array in zip(OUTPUTS, results, strict=False):
            if name in summed:
                summed[name] = summed[name] + array
            else:
                by_row[name].append(array)
    if not backward:
        return {"context": np.concatenate(by_row["context"], axis=-2)}
    whole = {name: np.concatenate(blocks, -2) for name, blocks in by_row.items()}
    return whole | {name: np.asarray(array) for name, array in summed.items()}


def _divisor(length: int, most: int) -> int:
    """The largest divisor of `length` that is at most `most`; 1 if there is none."""
    return next((n for n in range(max(most, 1), 0, -1) if length % n == 0), 1)


def largest_error(
    actual: dict[str, np.ndarray], right: dict[str, np.ndarray]
) -> tuple[float, str]:
    """The largest error relative to the largest expected magnitude, and of which output.

    NaN counts as infinite.
    """
    worst, where = 0.0, "context"
    for name, answer in right.items():
        answer = answer.astype(np.float64)
        difference = np.abs(actual[name].astype(np.float64) - answer)
        scale = max(float(np.max(np.abs(answer), initial=0.0)), np.finfo(float).tiny)
        error = float(np.max(difference, initial=0.0)) / scale
        error = error if np.isfinite(error) else float("inf")
        if error > worst:
            worst, where = error, name
    return worst, where
