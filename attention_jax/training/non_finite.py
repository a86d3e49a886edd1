"""What there is to know when a loss is no number."""

import jax

from attention_jax.training.json_files import write_json
from attention_jax.training.meter import NonFiniteLossError
from attention_jax.training.preparation import Experiment
from attention_jax.training.run_directory import RunDirectory

# Pairs named in the message; the file has them all.
_NAMED = 8


def explain_non_finite(
    error: NonFiniteLossError,
    experiment: Experiment,
    run: RunDirectory,
    checkpoints: list[int],
) -> NonFiniteLossError:
    """The error with its batch, the last good checkpoint and what may help.

    Writes non_finite.json into the run's directory: the step, what was not finite, and the
    batch's pairs, each with its place among the training pairs.
    """
    batch = experiment.batches.at(error.step - 1)
    ids = [int(one) for one in batch.example_ids if one >= 0]
    if jax.process_index() == 0:
        found = [(one, experiment.splits.train[one]) for one in ids]
        pairs = [
            {"id": one, "source": pair.source, "target": pair.target}
            for one, pair in found
        ]
        facts = {"step": error.step, "what": error.what, "value": str(error.value)}
        write_json(run.non_finite_path, {**facts, "pairs": pairs})
    named = ", ".join(map(str, ids[:_NAMED]))
    more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    last = (
        f"the last good one is step {checkpoints[-1]}"
        if checkpoints
        else "there is none"
    )
    return NonFiniteLossError(
        error.what,
        error.step,
        error.value,
        f"; its batch has the training pairs {named}{more} ({run.non_finite_path.name} "
        f"lists them); of the checkpoints {last}; a lower config.training."
        "learning_rate or config.training.clip_norm may help",
    )
