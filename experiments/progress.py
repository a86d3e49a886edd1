"""Shows training as it goes: a bar on a terminal, plain lines elsewhere; on stderr."""

import sys
from typing import Any, Self, TextIO

from attention_jax.config import TrainingConfig


class TrainingDisplay:
    """A `log` for `train`, used as a context manager."""

    def __init__(self, training: TrainingConfig, *, file: TextIO | None = None):
        self._training = training
        self._file = sys.stderr if file is None else file
        self._first: tuple[int, float] | None = None
        self._bar = None

    def __enter__(self) -> Self:
        if self._file.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            self._bar = Progress(
                TextColumn("step {task.completed:.0f}/{task.total:.0f}"),
                BarColumn(bar_width=16),
                TextColumn("{task.description}"),
                console=Console(file=self._file, highlight=False),
                transient=True,
            )
            self._task = self._bar.add_task("compiling", total=self._training.steps)
            self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, row: dict[str, Any]) -> None:
        """Shows a row of `train`'s log."""
        if row["event"] == "train":
            left = self._time_left(row["step"], row["minutes"])
            if self._bar is None:
                self._print(train_line(row, self._training.steps) + left)
            else:
                # Short enough for a terminal of 80 columns.
                text = (
                    f"loss {row['loss']:.3f} {row['tokens_per_second']:,.0f} tokens/s"
                )
                text += left
                self._bar.update(self._task, completed=row["step"], description=text)
        else:
            for line in LINES[row["event"]](row):
                self._print(line)

    def _print(self, line: str) -> None:
        if self._bar is not None:
            self._bar.console.print(line, markup=False, soft_wrap=True)
        else:
            print(line, file=self._file, flush=True)

    def _time_left(self, step: int, minutes: float) -> str:
        """By the pace since the first row, which contains the compilation."""
        if self._first is None:
            self._first = (step, minutes)
            return ""
        first_step, first_minutes = self._first
        pace = (minutes - first_minutes) / max(step - first_step, 1)
        left = pace * (self._training.steps - step)
        if self._training.max_minutes:
            left = min(left, self._training.max_minutes - minutes)
        return f"  {max(left, 0.0):.1f} min left"


def start_lines(row: dict[str, Any]) -> list[str]:
    """What is trained on what."""
    pairs = row["pairs"]
    shapes = ", ".join(f"{source}x{target}" for source, target in row["batch_shapes"])
    lines = [
        (
            f"data: {pairs['train']:,} training, {pairs['dev']:,} dev and "
            f"{pairs['test']:,} test pairs; vocabularies of {row['source_vocabulary']:,} "
            f"and {row['target_vocabulary']:,}; split {row['split_hash'][:12]}"
        ),
        "data: " + ", ".join(f"{fact}: {value}" for fact, value in row["data"].items()),
        f"model: {row['parameters']:,} parameters",
        (
            f"batches: {row['steps_per_epoch']:,} an epoch, shapes {shapes}, "
            f"{row['padding_share']:.0%} padding"
        ),
    ]
    if row["step"]:
        lines.append(f"resuming after step {row['step']}")
    for name, reason in row.get("damaged_checkpoints", {}).items():
        lines.append(
            f"skipped checkpoint {name}, kept in damaged_checkpoints: {reason}"
        )
    for name in row.get("unfinished_checkpoints", ()):
        lines.append(
            f"removed checkpoint {name}, which a killed process left half-written or half-deleted"
        )
    for one in row.get("changed_config", ()):
        lines.append(f"changed configuration: {one}")
    return lines


def train_line(row: dict[str, Any], steps: int) -> str:
    """How training goes."""
    return (
        f"step {row['step']}/{steps}  epoch {row['epoch']:.2f}  loss {row['loss']:.4f}  "
        f"accuracy {row['accuracy']:.1%}  {row['tokens_per_second']:,.0f} tokens/s  "
        f"rate {row['learning_rate']:.1e}  "
        f"compiled {row['compilations']}x in {row['compilation_seconds']:.1f} s"
    )


def dev_lines(row: dict[str, Any]) -> list[str]:
    """How good the model is."""
    best = ", the best so far" if row["best_step"] == row["step"] else ""
    return [
        (
            f"dev after step {row['step']}: loss {row['loss']:.4f}{best}; "
            f"accuracy {row['accuracy']:.1%}; BLEU {row['bleu']:.1f}; "
            f"exactly right {row['exact_match']:.1f}%"
        )
    ]


def sample_lines(row: dict[str, Any]) -> list[str]:
    """One translation."""
    return [
        f"  source      {row['source']}",
        f"  reference   {row['reference']}",
        f"  translation {row['hypothesis']}",
    ]


def end_lines(row: dict[str, Any]) -> list[str]:
    """How the run ended."""
    return [
        (
            f"{ENDINGS[row['reason']]} after step {row['step']} and {row['minutes']:.1f} minutes; "
            f"best on dev at step {row['best_step']}, loss {row['best_loss']:.4f}"
        )
    ]


ENDINGS = {
    "steps": "finished",
    "patience": "stopped early, dev no longer improving,",
    "minutes": "stopped at config.training.max_minutes",
    "stopped": "stopped when asked to; the same command goes on from here:",
}

LINES = {
    "start": start_lines,
    "dev": dev_lines,
    "sample": sample_lines,
    "end": end_lines,
}
