import math

import jax
import numpy as np
import pytest

from attention_jax.config import TrainingConfig
from attention_jax.training.checkpoint_ranking import dev_metrics, standing
from attention_jax.training.checkpoint_reading import best_metrics, load_params
from attention_jax.training.checkpoints import Checkpoints
from attention_jax.training.optimizer import make_optimizer
from attention_jax.training.progress import Progress
from attention_jax.training.state import init_state
from tests.training.fakes import bigram_model


def best_of(*rows, by):
    return min(rows, key=lambda row: standing(dev_metrics(*row[:1], **row[1]), by))[0]


def test_the_best_is_that_of_the_least_loss_or_the_most_bleu():
    rows = [
        (1, {"loss": 3.0, "bleu": 9.0}),
        (2, {"loss": 2.0, "bleu": 8.0}),
        (3, {"loss": 4.0, "bleu": 7.0}),
    ]
    assert best_of(*rows, by="loss") == 2
    assert best_of(*rows, by="bleu") == 1


@pytest.mark.parametrize("by", ["loss", "bleu"])
def test_the_first_of_equals_and_the_last_of_those_not_evaluated(by):
    equal = {"loss": 2.0, "bleu": 5.0}
    unknown = {"loss": math.inf, "bleu": -math.inf}
    assert best_of((1, unknown), (2, equal), (3, equal), (4, unknown), by=by) == 2
    assert best_of((1, unknown), (3, unknown), (2, unknown), by=by) == 3


def test_a_loss_that_is_not_a_number_is_never_the_best():
    rows = [(1, {"loss": 2.0, "bleu": 0.0}), (2, {"loss": math.nan, "bleu": 0.0})]
    assert best_of(*rows, by="loss") == 1


def test_one_rank_by_either_criterion_was_written_before():
    by_bleu = {"dev_loss": 2.0, "rank": -31.5}
    assert standing(by_bleu, "bleu") == (-31.5, 0)
    assert standing(by_bleu, "loss") == (2.0, 0)
    assert standing({"dev_loss": 2.0, "rank": 2.0}, "bleu") == (math.inf, 0)
    assert standing({"dev_loss": 2.0}, "loss") == (2.0, 0)


def test_checkpoints_keep_both_and_answer_by_either(tmp_path):
    path = tmp_path / "c"
    optimizer = make_optimizer(TrainingConfig())
    figures = {1: (3.0, 9.0), 2: (2.0, 8.0), 3: (4.0, 7.0), 4: (2.0, 9.0)}
    with Checkpoints(path, keep=4, best_by="bleu") as checkpoints:
        for step, (loss, bleu) in figures.items():
            state = init_state(bigram_model(), optimizer, seed=step)
            checkpoints.save(
                state._replace(step=state.step + step),
                Progress(),
                dev_loss=loss,
                dev_bleu=bleu,
            )
    for by, step in (("loss", 2), ("bleu", 1)):
        found = best_metrics(path, by)
        assert found == dev_metrics(step, loss=figures[step][0], bleu=figures[step][1])
        wanted = init_state(bigram_model(), optimizer, seed=step).params
        loaded = load_params(path, wanted, best_by=by)
        assert all(jax.tree.leaves(jax.tree.map(np.array_equal, loaded, wanted)))


@pytest.mark.parametrize(("best_by", "kept"), [("loss", 2), ("bleu", 1)])
def test_of_equally_good_ones_the_first_is_kept(tmp_path, best_by, kept):
    optimizer = make_optimizer(TrainingConfig())
    with Checkpoints(tmp_path / "c", keep=1, best_by=best_by) as checkpoints:
        for step, loss, bleu in (
            (1, 3.0, 9.0),
            (2, 2.0, 9.0),
            (3, 2.0, 9.0),
            (4, 9.0, 1.0),
        ):
            state = init_state(bigram_model(), optimizer, seed=step)
            checkpoints.save(
                state._replace(step=state.step + step),
                Progress(),
                dev_loss=loss,
                dev_bleu=bleu,
            )
    with Checkpoints(tmp_path / "c", keep=1, best_by=best_by) as checkpoints:
        assert checkpoints.steps() == [kept, 4]
