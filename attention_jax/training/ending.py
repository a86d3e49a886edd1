"""Why a training run ends, and how it ended."""

from typing import NamedTuple

# Every step is made; dev no longer improves; max_minutes; should_stop.
STEPS, PATIENCE, MINUTES, STOPPED = "steps", "patience", "minutes", "stopped"


class TrainResult(NamedTuple):
    """How a run ended."""

    step: int
    minutes: float  # over all restarts; compilation and dev evaluation included
    reason: str  # "steps", "patience" (early stopping), "minutes" or "stopped"
    best_step: int  # the step that was best on dev, 0 if there is none
    best_loss: float  # the dev loss there, nats per token

    @property
    def finished(self) -> bool:
        """Whether the same command again would train no further."""
        return self.reason != STOPPED


def reason_to_end(
    *,
    step: int,
    steps: int,
    minutes: float,
    max_minutes: float,
    without_gain: int,
    patience: int,
) -> str:
    """Why a run ends at `step`, "" if it goes on.

    Args:
      step, steps: made, and to make.
      minutes, max_minutes: taken, and those after which it ends; 0: there is no limit.
      without_gain, patience: evaluations since the best one, and how many of them end it;
        0: none do.
    """
    if step >= steps:
        return STEPS
    if 0 < patience <= without_gain:
        return PATIENCE
    return MINUTES if 0.0 < max_minutes <= minutes else ""
