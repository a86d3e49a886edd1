"""An experiment: its whole configuration checked, then trained with dev evaluation."""

import os
from typing import Any

from attention_jax.config import ExperimentConfig
from attention_jax.decoding import searches
from attention_jax.evaluation.evaluate import dev_evaluation
from attention_jax.training.loop import TrainResult, check_config, train


def validate(config: ExperimentConfig) -> None:
    """Returns if an experiment with `config` can start.

    Checks that there are no misspelt attributes, each value's type and range, the names
    against what is registered, and the fields that must agree with one another. It reads
    no data, but executes the file of a `path/file.py:function`.

    Raises:
      UserError: names the field, what was expected and what was given; an UnknownNameError
        for a name that is not registered.
    """
    check_config(config)
    searches.check_config(config.decoding, config.model)


def run_experiment(
    config: ExperimentConfig, workdir: str | os.PathLike[str], **options: Any
) -> TrainResult:
    """Validates `config` and trains it, with BLEU and samples at each dev evaluation.

    Args:
      config: the experiment.
      workdir: the run's directory.
      options: `log`, `command`, `allow_changed_config` and `should_stop` of `train`, which
        says what they are, what is returned and what is raised.
    """
    validate(config)
    return train(config, workdir, evaluate=dev_evaluation, **options)
