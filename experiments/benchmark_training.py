"""Times a training step of a recurrent translator with each score, in turns.

    python -m experiments.benchmark_training --scores=bilinear,additive,none --output=FILE.json

The model is a bidirectional LSTM encoder and an LSTM decoder; the batch is random words
without padding. `none` is the model without attention, `all` every registered score and none.
"""

import dataclasses
import os
import pathlib
import sys
import time
import types
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from absl import flags

from attention_jax.atomic_write import write_json
from attention_jax.config import ModelConfig, TrainingConfig
from attention_jax.data.batches import Batch
from attention_jax.data.codec import SPECIAL_TOKENS
from attention_jax.errors import named
from attention_jax.functions.score import get_score, score_names
from attention_jax.models.factory import build_model
from attention_jax.training.optimizer import make_optimizer
from attention_jax.training.run_directory import environment
from attention_jax.training.step import init_state, make_train_step
from benchmarks.timing import interleave, ratio, summarize
from experiments import cli
from experiments.outputs import check_files, print_table

SCHEMA = "attention_jax.training_step"
WITHOUT = "none"
# A model of 7.65 M parameters with the score `bilinear`; B, S, T and W of either side.
MODEL = ModelConfig(
    readout="tanh", embedding_size=256, encoder_size=256, decoder_size=512
)
BATCH_SIZE, SOURCE_LENGTH, TARGET_LENGTH = 64, 16, 12
SOURCE_VOCABULARY, TARGET_VOCABULARY = 2_800, 3_900
HEAD = ("score", "median", "quartiles", "x first", "target tokens/s", "compile")


def define_flags(flag_values: flags.FlagValues) -> None:
    """Defines --scores, --repeats and --output."""
    given: dict[str, Any] = {"flag_values": flag_values}
    text = "NAME,NAME or all; none is the model without attention."
    flags.DEFINE_list("scores", ["bilinear"], text, **given)
    text = "Rounds of interleaved samples."
    flags.DEFINE_integer("repeats", 20, text, lower_bound=1, **given)
    flags.DEFINE_string("output", None, "A JSON file for the figures.", **given)


def main(arguments: types.SimpleNamespace) -> None:
    """Measures, prints and writes."""
    # What was compiled before would say nothing about compiling.
    jax.config.update("jax_enable_compilation_cache", False)
    check_files(arguments, "output")
    scores = checked_scores(arguments.scores)
    steps = measure(scores, repeats=arguments.repeats)
    rows = [
        (
            name,
            f"{row['seconds']['median']:.3f} s",
            f"{row['seconds']['low_quartile']:.3f}–{row['seconds']['high_quartile']:.3f}",
            f"{row['ratio']:.2f}",
            f"{row['target_tokens_per_second']:,.0f}",
            f"{row['compile_seconds']:.1f} s",
        )
        for name, row in steps.items()
    ]
    print_table("the training step by its score", rows, HEAD)
    if arguments.output:
        command = ["python", "-m", "experiments.benchmark_training", *sys.argv[1:]]
        facts = {**environment(), "cpus": os.cpu_count()}
        result = {"schema": SCHEMA, "version": 1, "command": command}
        result |= {"environment": facts, "steps": steps}
        write_json(pathlib.Path(arguments.output), result)
        print(f"wrote {arguments.output}")


def checked_scores(names: Sequence[str]) -> list[str]:
    """The scores that --scores names, `none` for no attention at all."""
    if list(names) == ["all"]:
        return [*score_names(), WITHOUT]
    with named("--scores"):
        for name in names:
            if name != WITHOUT:
                get_score(name)
    return list(dict.fromkeys(names))


def measure(scores: Sequence[str], *, repeats: int) -> dict[str, dict[str, Any]]:
    """For each score: parameters, seconds, target tokens a second, compile time, memory."""
    batch = make_batch()
    training = TrainingConfig(schedule="constant", warmup_steps=0)
    rows: dict[str, dict[str, Any]] = {}
    runs: dict[str, Callable[[], Any]] = {}
    for name in scores:
        chosen: dict[str, Any] = {"attention" if name == WITHOUT else "score": name}
        config = dataclasses.replace(MODEL, **chosen)
        model = build_model(config, SOURCE_VOCABULARY, TARGET_VOCABULARY)
        optimizer = make_optimizer(training)
        state = init_state(model, optimizer, seed=0, training=training)
        step: Any = make_train_step(model, optimizer, training)
        started = time.perf_counter()
        compiled = step.lower(state, batch).compile()
        rows[name] = {
            "parameters": sum(a.size for a in jax.tree.leaves(state.params)),
            "compile_seconds": time.perf_counter() - started,
            "temporary_bytes": compiled.memory_analysis().temp_size_in_bytes,
        }
        # The step donates its state.
        holder = [state]

        def run(step: Any = compiled, holder: list[Any] = holder) -> None:
            holder[0], metrics = step(holder[0], batch)
            jax.block_until_ready((holder[0], metrics))

        runs[name] = run
    samples, failures = interleave(runs, repeats=repeats)
    for error in failures.values():
        raise error
    tokens = BATCH_SIZE * TARGET_LENGTH
    for name, row in rows.items():
        row["seconds"] = summarize(samples[name])
        row["target_tokens_per_second"] = tokens / row["seconds"]["median"]
        row["ratio"] = ratio(samples[name], samples[scores[0]])
    return rows


def make_batch() -> Batch:
    """Random words, without padding, the same on every call."""
    random = np.random.default_rng(0)

    def words(vocabulary: int, length: int) -> np.ndarray:
        shape = (BATCH_SIZE, length)
        return random.integers(len(SPECIAL_TOKENS), vocabulary, shape, np.int32)

    return Batch(
        source=words(SOURCE_VOCABULARY, SOURCE_LENGTH),
        source_lengths=np.full(BATCH_SIZE, SOURCE_LENGTH, np.int32),
        target_inputs=words(TARGET_VOCABULARY, TARGET_LENGTH),
        target_outputs=words(TARGET_VOCABULARY, TARGET_LENGTH),
        target_lengths=np.full(BATCH_SIZE, TARGET_LENGTH, np.int32),
        example_ids=np.arange(BATCH_SIZE, dtype=np.int32),
    )


if __name__ == "__main__":
    sys.exit(cli.run(main, define_flags))
