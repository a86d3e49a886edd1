import json
import math

import pytest

from attention_jax.config import TrainingConfig
from attention_jax.training.meter import MeterSums
from attention_jax.training.progress import Progress


def after(training, losses, bleus=None):
    progress = Progress()
    for step, loss in enumerate(losses, 1):
        bleu = bleus[step - 1] if bleus else 0.0
        progress = progress.evaluated(training, step, loss=loss, bleu=bleu)
    return progress


def test_json_and_back_is_the_same_to_the_last_bit():
    progress = Progress(0.1 + 0.2, math.inf, meter=MeterSums(1 / 3, largest_norm=0.7))
    text = json.dumps(progress.to_json())
    assert Progress.from_json(json.loads(text)) == progress


def test_fields_that_an_earlier_version_did_not_write_get_their_defaults():
    assert Progress.from_json({"minutes": 2.0}) == Progress(minutes=2.0)


def test_fields_of_a_later_version_are_refused():
    with pytest.raises(ValueError, match="unknown fields shoe_size"):
        Progress.from_json({"minutes": 2.0, "shoe_size": 44})


def test_the_best_step_is_that_of_the_lowest_loss():
    progress = after(TrainingConfig(), [3.0, 2.0, 2.5, 2.0])
    assert (progress.best_step, progress.best_loss) == (2, 2.0)
    assert progress.without_gain == 2


def test_the_best_step_may_be_that_of_the_highest_bleu():
    training = TrainingConfig(best_by="bleu")
    progress = after(training, [3.0, 2.0, 2.5], [10.0, 9.0, 12.0])
    assert (progress.best_step, progress.best_bleu) == (3, 12.0)
    assert progress.best_loss == 2.5


@pytest.mark.parametrize("patience", [0, 1, 2, 3])
def test_patience_counts_evaluations_since_the_best(patience):
    training = TrainingConfig(early_stopping_patience=patience)
    progress = after(training, [3.0, 2.0, 2.5, 2.5])
    assert progress.out_of_patience(training) == (0 < patience <= 2)


def test_plateau_reduces_once_for_every_so_many_evaluations_without_gain():
    training = TrainingConfig(schedule="plateau", plateau_patience=2)
    losses = [3.0, 4.0, 4.0, 4.0, 4.0, 2.0, 3.0, 3.0]
    found = [after(training, losses[:n]).reductions for n in range(1, 9)]
    assert found == [0, 0, 1, 1, 2, 2, 2, 3]
    assert after(TrainingConfig(), losses).reductions == 0


def test_another_criterion_takes_the_best_there_is_by_it_and_is_patient_anew():
    training = TrainingConfig(best_by="bleu")
    progress = Progress().evaluated(training, 10, loss=2.0, bleu=9.0)
    progress = progress.evaluated(training, 20, loss=1.0, bleu=8.0)
    assert (progress.best_step, progress.best_by, progress.without_gain) == (
        10,
        "bleu",
        1,
    )
    found = {"step": 20, "dev_loss": 1.0, "dev_bleu": 8.0}
    now = progress.rejudged("loss", found)
    assert (now.best_step, now.best_loss, now.best_bleu) == (20, 1.0, 8.0)
    assert (now.best_by, now.without_gain) == ("loss", 0)
    unknown = {"step": 30, "dev_loss": math.inf}
    assert progress.rejudged("loss", unknown).best_step == 0
