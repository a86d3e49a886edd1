"""How fast a training step and a translation are, beside the twin in PyTorch."""

import functools
import importlib
import importlib.metadata
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.benchmarking.candidates import Unsupported
from attention_jax.benchmarking.machine import (
    cpu_count,
    machine_facts,
    matmul_peak,
    resident_growth,
)
from attention_jax.benchmarking.timing import interleave, ratio, summarize
from attention_jax.benchmarking.torch_twin import (
    as_torch,
    make_twin,
    make_twin_step,
    twin_loss,
)
from attention_jax.config import ModelConfig, TrainingConfig
from attention_jax.data.batches import Batch
from attention_jax.data.vocabulary import SPECIAL_TOKENS
from attention_jax.decoding.greedy import greedy_decode
from attention_jax.models import Model, build_model
from attention_jax.training.optimizer import make_optimizer
from attention_jax.training.step import TrainState, init_state, make_train_step

SCHEMA = "attention_jax.training_benchmark"
OURS, TWIN = "attention_jax", "torch"
# Relative difference of the two losses, beyond which the twin is no twin.
TOLERANCE = 1e-4


class Workload(NamedTuple):
    """What one step trains on, and what is translated.

    Attributes:
      model: sizes and wiring.
      source_vocabulary, target_vocabulary: W of either side.
      batch_size, source_length, target_length: B, S and T; every sentence is that long.
      compute_dtype: as `TrainingConfig.compute_dtype`; the twin computes in float32.
    """

    model: ModelConfig = ModelConfig(score="bilinear", readout="tanh")
    source_vocabulary: int = 2_800
    target_vocabulary: int = 3_900
    batch_size: int = 64
    source_length: int = 16
    target_length: int = 12
    compute_dtype: str = "float32"


def step_flops(workload: Workload) -> float:
    """FLOPs of the matrix products of one step, forward and twice that backward.

    Two for each multiply-and-add, of the input, recurrent, bridge, attention, readout and
    projection products; what is done once per element is left out.
    """
    model, (batch, s, t) = workload.model, workload[3:6]
    e, h, d = model.embedding_size, model.encoder_size, model.decoder_size
    ways = 2 if model.bidirectional else 1
    states, readout = ways * h, model.readout_size or d
    encoder = ways * s * 4 * h * (e + h)
    bridge = 2 * states * d
    decoder = t * 4 * d * (e + d)
    # The keys are prepared, one product a source word; then scores and averages.
    attention = s * states * d + t * s * (d + states)
    projection = t * readout * (states + d + workload.target_vocabulary)
    return 3.0 * 2.0 * batch * (encoder + bridge + decoder + attention + projection)


def make_batch(workload: Workload) -> Batch:
    """Random words, without padding; a function of nothing but the workload."""
    random = np.random.default_rng(0)
    rows, first = workload.batch_size, len(SPECIAL_TOKENS)

    def words(vocabulary: int, length: int) -> np.ndarray:
        return random.integers(first, vocabulary, (rows, length)).astype(np.int32)

    return Batch(
        source=words(workload.source_vocabulary, workload.source_length),
        source_lengths=np.full(rows, workload.source_length, np.int32),
        target_inputs=words(workload.target_vocabulary, workload.target_length),
        target_outputs=words(workload.target_vocabulary, workload.target_length),
        target_lengths=np.full(rows, workload.target_length, np.int32),
        example_ids=np.arange(rows, dtype=np.int32),
    )


def measure_training(workload: Workload, *, repeats: int, twin: bool) -> dict[str, Any]:
    """Times steps of ours and, if wanted, of the twin, in turns; and greedy translation.

    Args:
      workload: what.
      repeats: rounds of interleaved samples.
      twin: also trains the PyTorch twin, after its loss has been found equal.

    Raises:
      ModuleNotFoundError: the twin is wanted and there is no torch.
      Unsupported: the twin is wanted for a model that it is not written for.
      ValueError: the losses of the two differ; says by how much.
    """
    training, model, state, compiled, compile_seconds = compile_step(workload)
    batch = make_batch(workload)
    parameters = sum(array.size for array in jax.tree.leaves(state.params))
    rows: dict[str, dict[str, Any]] = {
        OURS: {
            "compile_seconds": compile_seconds,
            "temporary_bytes": compiled.memory_analysis().temp_size_in_bytes,
            "version": importlib.metadata.version("attention_jax"),
        }
    }
    runs: dict[str, Callable[[], Any]] = {}
    if twin:
        torch_step, batch_there = _twin(workload, training, state, model, batch)
        runs[TWIN] = lambda: float(torch_step(batch_there))
        rows[TWIN] = {"version": importlib.metadata.version("torch")}
    runs = {OURS: stepping(compiled, state, batch), **runs}
    for name, run in runs.items():
        rows[name]["resident_growth_bytes"] = resident_growth(run)
    peak = matmul_peak()
    samples, failures = interleave(runs, repeats=repeats)
    if failures:
        raise next(iter(failures.values()))
    peak = max(peak, matmul_peak())
    flops = step_flops(workload)
    baseline = samples[TWIN if twin else OURS]
    for name, row in rows.items():
        row |= step_figures(workload, samples[name], baseline)
        row["peak_fraction"] = flops / row["seconds"]["median"] / peak
    return {
        "schema": SCHEMA,
        "version": 1,
        "workload": {**workload._asdict(), "model": vars(workload.model)},
        "parameters": parameters,
        "flops": flops,
        "target_tokens": workload.batch_size * workload.target_length,
        "peak_flops_per_second": peak,
        "repeats": repeats,
        "steps": rows,
        "translation": _measure_translation(workload, model, repeats),
        "imports": import_seconds(),
        "environment": machine_facts(),
    }


def step_figures(
    workload: Workload, samples: list[float], baseline: list[float]
) -> dict[str, Any]:
    """What samples of a step's time come to: seconds, tokens a second, the ratio."""
    seconds = summarize(samples)
    tokens = workload.batch_size * workload.target_length
    return {
        "seconds": seconds,
        "target_tokens_per_second": tokens / seconds["median"],
        "ratio": ratio(samples, baseline),
    }


class CompiledStep(NamedTuple):
    """A training step of a workload, and what it starts from."""

    training: TrainingConfig
    model: Model
    state: TrainState
    compiled: Any
    compile_seconds: float


def compile_step(workload: Workload) -> CompiledStep:
    """Initialises the workload's model and compiles its training step."""
    training = TrainingConfig(
        schedule="constant", warmup_steps=0, compute_dtype=workload.compute_dtype
    )
    model = build_model(
        workload.model, workload.source_vocabulary, workload.target_vocabulary
    )
    optimizer = make_optimizer(training)
    state = init_state(model, optimizer, seed=0, training=training)
    train_step = make_train_step(model, optimizer, training)
    started = time.perf_counter()
    compiled = train_step.lower(state, make_batch(workload)).compile()  # pyrefly: ignore
    return CompiledStep(training, model, state, compiled, time.perf_counter() - started)


def stepping(
    compiled: Callable[..., Any], state: TrainState, batch: Batch
) -> Callable[[], None]:
    """Each call makes one update more, and waits for it."""
    # The step donates its state, and the caller's is needed again.
    holder = [jax.tree.map(jnp.array, state)]

    def run() -> None:
        holder[0], metrics = compiled(holder[0], batch)
        jax.block_until_ready((holder[0], metrics))

    return run


def _twin(
    workload: Workload,
    training: TrainingConfig,
    state: TrainState,
    model: Model,
    batch: Batch,
) -> tuple[Callable[[Any], Any], Any]:
    if workload.compute_dtype != "float32":
        raise Unsupported("the PyTorch twin computes in float32 alone")
    importlib.import_module("torch").set_num_threads(cpu_count())
    module, there = make_twin(workload.model, state.params), as_torch(batch)
    ours, theirs = (
        _loss(model, state.params, batch),
        float(twin_loss(module, there).detach()),
    )
    if abs(ours - theirs) > TOLERANCE * abs(ours):
        raise ValueError(f"the twin's loss is {theirs}, and ours {ours}")
    return make_twin_step(module, training), there


def _loss(model: Model, params: Any, batch: Batch) -> float:
    from attention_jax.training.step import make_eval_step

    sums = make_eval_step(model)(params, batch)
    return float(sums.cross_entropy) / float(sums.tokens)


def _measure_translation(
    workload: Workload, model: Model, repeats: int
) -> dict[str, Any]:
    """Greedy translation of one batch, of `target_length` steps whatever the words."""
    params, batch = model.init(jax.random.key(0)), make_batch(workload)
    # No sentence ends early: what is timed does not depend on what is predicted.
    params["decoder"]["projection_bias"] = (
        jnp.zeros(workload.target_vocabulary).at[: len(SPECIAL_TOKENS)].set(-1e9)
    )
    decode = jax.jit(
        # The last step is that of EOS, which is forced.
        functools.partial(
            greedy_decode, model, max_length=max(1, workload.target_length - 1)
        )
    )

    def run() -> None:
        jax.block_until_ready(decode(params, batch.source, batch.source_lengths))

    samples, failures = interleave({"greedy": run}, repeats=repeats)
    if failures:
        raise failures["greedy"]
    seconds = summarize(samples["greedy"])
    return {
        "search": "greedy",
        "seconds": seconds,
        "sentences_per_second": workload.batch_size / seconds["median"],
    }


def import_seconds() -> dict[str, float]:
    """Seconds that a fresh process needs to import each, the least of three."""
    found = {}
    for module in ("jax", "attention_jax", "attention_jax.training"):
        program = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
        seconds = [
            float(
                subprocess.run(
                    [sys.executable, "-c", program],
                    capture_output=True,
                    text=True,
                    check=True,
                ).stdout
            )
            for _ in range(3)
        ]
        found[module] = min(seconds)
    return found


def report_rows(result: dict[str, Any]) -> list[tuple[str, ...]]:
    """A row for each library's step and one for translation."""
    rows: list[tuple[str, ...]] = [
        (
            "training step",
            "median",
            "quartiles",
            f"x {TWIN if TWIN in result['steps'] else OURS}",
            "target tokens/s",
            "of peak",
            "compile",
        )
    ]
    for name, row in result["steps"].items():
        seconds = row["seconds"]
        compiled = row.get("compile_seconds")
        rows.append(
            (
                f"{name} {row['version']}",
                f"{seconds['median']:.3f} s",
                f"{seconds['low_quartile']:.3f}–{seconds['high_quartile']:.3f}",
                f"{row['ratio']:.2f}",
                f"{row['target_tokens_per_second']:,.0f}",
                f"{row['peak_fraction']:.0%}",
                "" if compiled is None else f"{compiled:.1f} s",
            )
        )
    return rows
