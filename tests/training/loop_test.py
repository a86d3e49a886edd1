"""What the loop remembers besides the arrays: the best step, patience."""

import json
import math

import pytest

from attention_jax.config import TrainingConfig
from attention_jax.training.loop import Progress
from attention_jax.training.step import MeterSums


def after(training, losses, bleus=None):
    progress = Progress()
    for step, loss in enumerate(losses, 1):
        bleu = bleus[step - 1] if bleus else 0.0
        progress = progress.evaluated(training, step, loss=loss, bleu=bleu)
    return progress


def test_progress_is_the_same_from_json_and_lacks_nothing():
    progress = Progress(0.1 + 0.2, math.inf, meter=MeterSums(1 / 3, largest_norm=0.7))
    text = json.dumps(progress._asdict())
    assert Progress.from_json(json.loads(text)) == progress
    # As an earlier version wrote it.
    earlier = {"minutes": 2.0, "best_by": "loss"}
    assert Progress.from_json(earlier) == Progress(minutes=2.0)


def test_the_best_step_is_that_of_the_lowest_loss_or_the_highest_bleu():
    progress = after(TrainingConfig(), [3.0, 2.0, math.nan, 2.0])
    assert (progress.best_step, progress.best_loss) == (2, 2.0)
    assert progress.without_gain == 2
    by_bleu = TrainingConfig(best_by="bleu")
    progress = after(by_bleu, [3.0, 2.0, 2.5], [10.0, 9.0, 12.0])
    assert (progress.best_step, progress.best_bleu) == (3, 12.0)
    assert progress.best_loss == 2.5


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"steps": 5}, "steps"),
        ({"early_stopping_patience": 2}, "patience"),
        ({"early_stopping_patience": 3}, ""),
        ({"max_minutes": 2.0}, "minutes"),
        ({"max_minutes": 2.1}, ""),
        ({"max_minutes": 1.0, "early_stopping_patience": 1, "steps": 4}, "steps"),
    ],
)
def test_why_a_run_ends(changes, reason):
    training = TrainingConfig(**{"steps": 9} | changes)
    progress = Progress(minutes=2.0, without_gain=2)
    assert progress.reason_to_end(training, 5) == reason
