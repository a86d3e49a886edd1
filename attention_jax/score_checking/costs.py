"""What it costs beside `additive` at the same sizes: memory and time. Never a failure."""

import dataclasses
import functools
import math
import statistics
import time as time_module
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.attention import attention, explain_attention
from attention_jax.functions.score import Score, get_score, init_score_params
from attention_jax.score_checking import programs
from attention_jax.score_checking.check import Outcome, check, noted, passed
from attention_jax.score_checking.subject import (
    LENGTH,
    Sizes,
    Subject,
    param_structs,
)
from attention_jax.types import Array

BASELINE = "additive"
QUERIES, KEYS = 128, 256
REPEATS = 10
MAX_SECONDS = 10.0
# Beyond this a score is said to be dear: less is within what a busy machine does.
DEAR = 1.5


def sizes_of(subject: Subject) -> Sizes:
    """A model's sizes, or those of the other checks if the score takes no others."""
    try:
        dataclasses.replace(subject, sizes=subject.cost_sizes).shape(dtype=jnp.float32)
    except Exception:  # noqa: BLE001 - whatever a user's function raises
        return subject.sizes
    return subject.cost_sizes


@check(
    "intermediate",
    "Notes how large the largest array is that one query's scores pass through.",
    needs=("prepare", "floating"),
    costs=True,
)
def intermediate(subject: Subject) -> Outcome:
    """Read off the jaxpr, as `auto` and the chunked kernel do."""
    sizes = sizes_of(subject)
    own = _bytes_per_query(subject.score, sizes)
    baseline = _bytes_per_query(get_score(BASELINE), sizes)
    axes = _axes_of(subject, sizes, own)
    named = f"[{', '.join(axes)}]" if axes else "an array"
    found = f"{named} a query: {own / baseline:.2g}x {BASELINE}'s [S, A]"
    if own <= baseline:
        return passed(found)
    return noted(
        found,
        "blocks of queries get smaller by as much; a matmul or jnp.einsum in place of a "
        "product that is summed afterwards avoids an array over several feature axes",
    )


@check(
    "memory",
    "Notes what temporary memory attention with it takes, beside `additive`.",
    needs=("prepare", "floating"),
    costs=True,
    slow=True,
)
def memory(subject: Subject) -> Outcome:
    """XLA's own figures for the compiled programs."""
    sizes = sizes_of(subject)
    own = programs_of(subject.score, sizes)
    baseline = programs_of(get_score(BASELINE), sizes)
    found = []
    for name in own:
        taken, other = own[name].temporaries, baseline[name].temporaries
        if taken is None or other is None:
            return passed("this device does not tell")
        times = f"{taken / other:.2g}x {BASELINE}'s" if other else f"{BASELINE}'s is 0"
        found.append(f"{name} {taken / 2**20:.2g} MiB, {times}")
    return passed("; ".join(found))


@check(
    "time",
    "Notes what time attention with it takes, beside `additive`.",
    needs=("prepare", "floating"),
    costs=True,
    slow=True,
)
def time(subject: Subject) -> Outcome:
    """Medians of interleaved repeats."""
    sizes = sizes_of(subject)
    own = programs_of(subject.score, sizes)
    baseline = programs_of(get_score(BASELINE), sizes)
    found, ratios = [], []
    for name in own:
        pairs = _seconds_in_turns(own[name].run, baseline[name].run)
        ratios.append(statistics.median(one / other for one, other in pairs))
        median = statistics.median(one for one, _ in pairs)
        found.append(f"{name} {1000 * median:.3g} ms, {ratios[-1]:.2g}x {BASELINE}'s")
    where = f"T = {QUERIES}, S = {KEYS}, Q = {sizes.query_size}, K = {sizes.key_size}"
    text = f"{'; '.join(found)} ({where})"
    if max(ratios) <= DEAR:
        return passed(text)
    return noted(
        text,
        "what depends on the keys alone belongs in prepare; see `intermediate` for the "
        "rest",
    )


def _seconds_in_turns(*runs: Callable[[], Any]) -> list[list[float]]:
    """Rounds of the seconds that each takes, the first round left out."""
    rounds = []
    began = time_module.perf_counter()
    while len(rounds) <= REPEATS and time_module.perf_counter() - began < MAX_SECONDS:
        rounds.append([])
        for run in runs:
            started = time_module.perf_counter()
            run()
            rounds[-1].append(time_module.perf_counter() - started)
    return rounds[1:] or rounds


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled attention.

    Attributes:
      run: runs it to its end.
      temporaries: bytes that XLA allots beside arguments and results; None if not told.
    """

    run: Callable[[], Any]
    temporaries: int | None


@functools.lru_cache(maxsize=4)
def programs_of(score: Score, sizes: Sizes) -> dict[str, Program]:
    """Attention with a score, forward and with gradients, compiled as users have it."""
    query, keys, values, params = _arrays(score, sizes)

    def forward(query: Array, keys: Array, values: Array, params: Any) -> Array:
        return attention(query, keys, values, score=score, params=params).context

    def gradient(*data: Any) -> Any:
        return jax.grad(lambda d: jnp.sum(jnp.sin(forward(*d))))(data)

    return {
        "forward": _compiled(forward, query, keys, values, params),
        "gradient": _compiled(gradient, query, keys, values, params),
    }


def _compiled(function: Callable[..., Any], *arguments: Any) -> Program:
    compiled = jax.jit(function).lower(*arguments).compile()
    analysis = compiled.memory_analysis()
    return Program(
        lambda: jax.block_until_ready(compiled(*arguments)),
        getattr(analysis, "temp_size_in_bytes", None),
    )


def _arrays(score: Score, sizes: Sizes) -> tuple[Any, Any, Any, dict[str, Any]]:
    rng = np.random.default_rng(0)

    def normal(length: int, size: int) -> Array:
        return jnp.asarray(rng.standard_normal((length, size)), jnp.float32)

    params = init_score_params(jax.random.key(0), score, **dataclasses.asdict(sizes))
    return (
        normal(QUERIES, sizes.query_size),
        normal(KEYS, sizes.key_size),
        normal(KEYS, sizes.value_size),
        params,
    )


def _bytes_per_query(score: Score, sizes: Sizes) -> int:
    """The bytes of the largest array that a query's weights go through, in float32."""
    struct = functools.partial(jax.ShapeDtypeStruct, dtype=jnp.float32)
    explained = explain_attention(
        struct((1, sizes.query_size)),
        struct((KEYS, sizes.key_size)),
        struct((KEYS, sizes.value_size)),
        score=score,
        params=param_structs(score, sizes, jnp.float32),
        implementation="reference",
    )
    return explained.intermediate_bytes


def _axes_of(subject: Subject, sizes: Sizes, size: int) -> tuple[str, ...]:
    """The axes, in letters, of the array that takes `size` bytes at these sizes.

    Found in the program for the sizes of the other checks, which differ from each other.
    """
    here, there = _lengths(subject.sizes, LENGTH), _lengths(sizes, KEYS)
    letters: dict[int, str] = {}
    for letter, length in here.items():
        letters.setdefault(length, letter)
    program = subject.jaxpr(as_float32(subject))
    for equation in programs.equations(program):
        for variable in equation.outvars:
            axes = tuple(letters.get(n, str(n)) for n in variable.aval.shape)
            cells = math.prod(there.get(axis, 0) or int(axis) for axis in axes)
            if cells * np.dtype(variable.aval.dtype).itemsize == size:
                return axes
    return ()


def as_float32(subject: Subject) -> Any:
    """A point in float32, which costs are counted in."""
    with jax.enable_x64(True):
        point = subject.point()
    return jax.tree.map(
        lambda leaf: np.asarray(
            leaf, np.float32 if jnp.issubdtype(leaf.dtype, jnp.floating) else np.int32
        ),
        point,
    )


def _lengths(sizes: Sizes, keys: int) -> dict[str, int]:
    return {
        "S": keys,
        "Q": sizes.query_size,
        "K": sizes.key_size,
        "A": sizes.alignment_size,
        "V": sizes.value_size,
    }
