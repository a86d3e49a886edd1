"""Where a run is, besides its arrays: what a checkpoint keeps as JSON."""

import math
from typing import Any, NamedTuple

from attention_jax.config import TrainingConfig
from attention_jax.training.meter import NO_SUMS, MeterSums


class Progress(NamedTuple):
    """What a resumed run needs to know besides the arrays."""

    minutes: float = 0.0  # so far; compilation and dev evaluation included
    best_loss: float = math.inf  # dev loss where the run was best, nats per token
    best_step: int = 0  # where that was, 0: nowhere yet
    compilations: int = 0
    compilation_seconds: float = 0.0
    best_bleu: float = -math.inf  # dev BLEU where the run was best
    without_gain: int = 0  # evaluations since then
    reductions: int = 0  # of the learning rate, by the schedule `plateau`
    meter: MeterSums = NO_SUMS  # since the last line of the log
    best_by: str = ""  # the config.training.best_by of these; "" before any evaluation

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {**self._asdict(), "meter": list(self.meter)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Progress":
        """What `to_json` gave `values` for; fields newer than they are get defaults.

        Raises:
          ValueError: `values` has a field that is not known here.
        """
        unknown = [name for name in values if name not in cls._fields]
        if unknown:
            raise ValueError(f"unknown fields {', '.join(unknown)}")
        values = dict(values)
        meter = MeterSums(*values.pop("meter", ()))
        return cls(**values, meter=meter)

    def evaluated(
        self, training: TrainingConfig, step: int, *, loss: float, bleu: float
    ) -> "Progress":
        """One evaluation on the dev set later: the best so far, and the patience left."""
        if training.best_by == "bleu":
            improved = bleu > self.best_bleu
        else:
            improved = loss < self.best_loss
        if improved:
            return self._replace(
                best_loss=loss,
                best_bleu=bleu,
                best_step=step,
                best_by=training.best_by,
                without_gain=0,
            )
        waited = self.without_gain + 1
        reduces = (
            training.schedule == "plateau" and waited % training.plateau_patience == 0
        )
        return self._replace(
            without_gain=waited, reductions=self.reductions + int(reduces)
        )

    def rejudged(self, best_by: str, metrics: dict[str, Any]) -> "Progress":
        """As if `best_by` had been the criterion, by which `metrics` are the best.

        The patience begins anew.
        """
        found = math.isfinite(metrics["dev_loss"])
        return self._replace(
            best_loss=metrics["dev_loss"],
            best_bleu=metrics.get("dev_bleu", -math.inf),
            best_step=metrics["step"] if found else 0,
            best_by=best_by,
            without_gain=0,
        )

    def out_of_patience(self, training: TrainingConfig) -> bool:
        """Whether early stopping ends the run here."""
        patience = training.early_stopping_patience
        return 0 < patience <= self.without_gain
