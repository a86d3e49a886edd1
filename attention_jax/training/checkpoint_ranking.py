"""Which checkpoint of a run is its best one: by what was measured on dev when it was saved."""

import math
from typing import Any


def dev_metrics(step: int, *, loss: float, bleu: float) -> dict[str, Any]:
    """What a checkpoint keeps of its evaluation; infinities where there was none."""
    return {"step": step, "dev_loss": loss, "dev_bleu": bleu}


def standing(metrics: dict[str, Any], best_by: str) -> tuple[float, int]:
    """What the best checkpoint has the least of, by `config.training.best_by`.

    Of equally good ones that is the first; of those that were not evaluated, the last.

    Raises:
      LookupError, TypeError, ValueError: `metrics` are not those of a checkpoint.
    """
    loss, step = float(metrics["dev_loss"]), int(metrics.get("step", 0))
    if best_by == "bleu":
        value = -float(metrics["dev_bleu"]) if "dev_bleu" in metrics else _old(metrics)
    else:
        value = loss
    if not math.isfinite(value):
        return math.inf, -step
    return value, step


def _old(metrics: dict[str, Any]) -> float:
    """-BLEU out of metrics that held one rank by either criterion: a loss is positive."""
    rank = float(metrics.get("rank", math.inf))
    return rank if rank <= 0.0 else math.inf
