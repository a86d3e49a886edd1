"""Shows training as it goes, by lines on stderr."""

import contextlib
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import tensorboardX

from attention_jax.config import TrainingConfig

ENDINGS = {
    "steps": "finished",
    "patience": "stopped early, dev no longer improving,",
    "minutes": "stopped at config.training.max_minutes",
    "stopped": "stopped when asked to; the same command goes on from here:",
}


@contextlib.contextmanager
def watch(
    events: pathlib.Path, training: TrainingConfig
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A `log` for `train` that shows each row, and writes event files for TensorBoard.

    The numbers of a row are scalars called event/name, at its step. A resumed run writes a
    file of its own, which tells TensorBoard to forget what an earlier one wrote beyond the
    step resumed from.
    """
    first_step, writer = 0, None

    def log(row: dict[str, Any]) -> None:
        nonlocal first_step, writer
        print(describe(row, training.steps), file=sys.stderr, flush=True)
        if row["event"] == "start":
            first_step = row["step"]
        if row["event"] not in ("train", "dev"):
            return
        if writer is None:
            options = {"purge_step": first_step + 1, "flush_secs": 10}
            writer = tensorboardX.SummaryWriter(str(events), **options)
            stack.callback(writer.close)
        for name, value in row.items():
            if name != "step" and isinstance(value, int | float):
                writer.add_scalar(f"{row['event']}/{name}", value, row["step"])

    with contextlib.ExitStack() as stack:
        yield log


def describe(row: dict[str, Any], steps: int) -> str:
    """A row of `train`'s log as text, of one line or several."""
    match row["event"]:
        case "start":
            return "\n".join(_start_lines(row))
        case "train":
            return (
                f"step {row['step']}/{steps}  epoch {row['epoch']:.2f}  "
                f"loss {row['loss']:.4f}  accuracy {row['accuracy']:.1%}  "
                f"{row['tokens_per_second']:,.0f} tokens/s  "
                f"rate {row['learning_rate']:.1e}  "
                f"compiled {row['compilations']}x"
            )
        case "dev":
            best = ", the best so far" if row["best_step"] == row["step"] else ""
            return (
                f"dev after step {row['step']}: loss {row['loss']:.4f}{best}; "
                f"accuracy {row['accuracy']:.1%}; BLEU {row['bleu']:.1f}; "
                f"exactly right {row['exact_match']:.1f}%"
            )
        case "sample":
            return (
                f"  source      {row['source']}\n"
                f"  reference   {row['reference']}\n"
                f"  translation {row['hypothesis']}"
            )
        case _:
            return (
                f"{ENDINGS[row['reason']]} after step {row['step']} and "
                f"{row['minutes']:.1f} minutes; best on dev at step "
                f"{row['best_step']}, loss {row['best_loss']:.4f}"
            )


def _start_lines(row: dict[str, Any]) -> Iterator[str]:
    """What is trained on what, and what was found of an earlier part of the run."""
    pairs = row["pairs"]
    shapes = ", ".join(f"{source}x{target}" for source, target in row["batch_shapes"])
    facts = ", ".join(f"{fact}: {n}" for fact, n in row["data"].items())
    yield (
        f"data: {pairs['train']:,} training, {pairs['dev']:,} dev and "
        f"{pairs['test']:,} test pairs; vocabularies of {row['source_vocabulary']:,} "
        f"and {row['target_vocabulary']:,}; split {row['split_hash'][:12]}\n"
        f"data: {facts}\n"
        f"model: {row['parameters']:,} parameters\n"
        f"batches: {row['steps_per_epoch']:,} an epoch, shapes {shapes}, "
        f"{row['padding_share']:.0%} padding"
    )
    if row["step"]:
        yield f"resuming after step {row['step']}"
    if "begun_again_after" in row:
        yield (
            "there is no checkpoint: beginning again from step 0, and replacing the "
            f"metrics and samples up to step {row['begun_again_after']}"
        )
    for name, reason in row.get("damaged_checkpoints", {}).items():
        yield f"skipped checkpoint {name}, kept in damaged_checkpoints: {reason}"
    for one in row.get("changed_config", ()):
        yield f"changed configuration: {one}"
