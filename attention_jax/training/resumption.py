"""Whether a run may go on: it must be the same experiment on the same data."""

from attention_jax.config import ExperimentConfig
from attention_jax.data.splits import Splits, split_hash
from attention_jax.training.run_directory import RunDirectory
from attention_jax.training.stored_config import differences, with_absolute_paths

# Fields named when two configurations differ: the rest is counted.
_SHOWN = 5


class ChangedRunError(ValueError):
    """The directory holds a run of another configuration or of other data."""


# Fields that change nothing of what a run computes.
_FREE = ("profile:",)


def changes(run: RunDirectory, config: ExperimentConfig) -> list[str]:
    """`section.field: stored -> given` where a run begun in `run` differs from `config`."""
    if not run.exists():
        return []
    found = differences(run.load_config(), with_absolute_paths(config))
    return [one for one in found if not one.startswith(_FREE)]


def check_same_config(run: RunDirectory, config: ExperimentConfig) -> None:
    """Raises ChangedRunError unless a run begun in `run` has the same configuration."""
    refuse_changes(run, changes(run, config))


def refuse_changes(run: RunDirectory, changed: list[str]) -> None:
    """Raises ChangedRunError if there are any of what `changes` lists."""
    if changed:
        more = len(changed) - _SHOWN
        listed = changed[:_SHOWN] + [f"and {more} more"] * (more > 0)
        # The one that people change on purpose.
        longer = any(one.startswith("training.steps:") for one in changed)
        fixed = " (the learning rate follows training.steps: it is fixed at the start)"
        raise ChangedRunError(
            f"{run.path} holds a run of another configuration ({'; '.join(listed)}); "
            f"give this one a workdir of its own{fixed * longer}, or allow the change "
            "(experiments.train: --allow_changed_config)"
        )


def check_same_data(run: RunDirectory, splits: Splits) -> None:
    """Raises ChangedRunError unless the data is what the run in `run` was last given."""
    sessions = run.load_record().get("sessions", [])
    # Not the first: a later one may have been allowed another configuration.
    before, now = sessions[-1:], split_hash(splits)
    if before and before[0].get("split_hash", now) != now:
        raise ChangedRunError(
            f"{run.path} was begun with other data: the splits' hash was "
            f"{before[0]['split_hash'][:12]} and is {now[:12]}; "
            "put that data back, or train on this in another workdir"
        )
