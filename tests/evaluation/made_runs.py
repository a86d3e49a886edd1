"""Run directories as training leaves them, made without training."""

import pathlib

from attention_jax.atomic_write import append_lines
from attention_jax.config import ExperimentConfig
from attention_jax.training.run_directory import RunDirectory


def train_row(step, *, loss=1.0, speed=100.0, compilations=1):
    return {
        "event": "train",
        "step": step,
        "minutes": step / 10,
        "loss": loss + 0.5,
        "cross_entropy": loss,
        "tokens_per_second": speed,
        "compilations": compilations,
    }


def dev_row(step, *, loss=1.0, bleu=10.0, exact_match=5.0, best_step=None):
    return {
        "event": "dev",
        "step": step,
        "minutes": step / 10,
        "loss": loss,
        "bleu": bleu,
        "exact_match": exact_match,
        "best_step": step if best_step is None else best_step,
    }


ROWS = (
    train_row(10, loss=4.0, speed=1.0),
    train_row(20, loss=2.0, speed=100.0),
    dev_row(20, loss=2.0, bleu=30.0, exact_match=1.0),
    train_row(30, loss=1.0, speed=300.0),
    train_row(40, loss=0.5, speed=900.0, compilations=2),
    dev_row(40, loss=3.0, bleu=20.0, exact_match=2.0, best_step=20),
)


def make_run(path: pathlib.Path, rows=ROWS, *, steps=40, **fields) -> pathlib.Path:
    """A run's directory; `fields` are those of its configuration, `model__score="dot"`."""
    config = ExperimentConfig()
    config.training.steps = steps
    for name, value in fields.items():
        *sections, field = name.split("__")
        holder = config
        for section in sections:
            holder = getattr(holder, section)
        setattr(holder, field, value)
    run = RunDirectory(path)
    run.save_config(config)
    run.update_record({"sessions": [{"parameters": 1234}]})
    append_lines(run.metrics_path, rows)
    return run.path
