import math

import numpy as np
import pytest

from attention_jax.training.metrics import Meter, NonFiniteLossError
from attention_jax.training.step import StepMetrics, TokenSums


class Unread:
    """Stands for a number on the device: tells when it is read."""

    def __init__(self, value, reads):
        self.value, self.reads = value, reads

    def __float__(self):
        self.reads.append(self.value)
        return self.value


def metrics(*, objective=2.0, tokens=4.0, norm=1.0, reads=None):
    reads = [] if reads is None else reads
    numbers = (objective, 3.0, 1.0, tokens)
    return StepMetrics(
        TokenSums(*(Unread(number, reads) for number in numbers)), Unread(norm, reads)
    )


def test_a_step_is_read_when_the_next_is_added():
    meter, reads = Meter(), []
    meter.add(1, metrics(reads=reads))
    assert reads == []
    meter.add(2, metrics())
    assert len(reads) == 5


def test_report_averages_over_tokens_not_steps():
    meter = Meter()
    meter.add(1, metrics(objective=2.0, tokens=4.0, norm=5.0))
    meter.add(2, metrics(objective=10.0, tokens=8.0, norm=1.0))
    report = meter.report()
    assert report["loss"] == pytest.approx(1.0)
    assert report["cross_entropy"] == pytest.approx(0.5)
    assert report["accuracy"] == pytest.approx(2 / 12)
    assert report["gradient_norm"] == 5.0
    meter.restart()
    meter.add(3, metrics(objective=4.0, tokens=4.0))
    assert meter.report()["loss"] == pytest.approx(1.0)


def test_paused_time_is_not_counted(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    meter = Meter()
    meter.add(1, metrics(tokens=6.0))
    now[0] = 2.0
    with meter.paused():
        now[0] = 100.0
    now[0] = 101.0
    assert meter.report()["tokens_per_second"] == pytest.approx(6.0 / 3.0)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["loss", "gradient"])
def test_non_finite_numbers_stop_with_their_own_step(name, value):
    meter = Meter()
    field = {"loss": "objective", "gradient": "norm"}[name]
    meter.add(7, metrics(**{field: value}))
    with pytest.raises(NonFiniteLossError, match=f"{name} of step 7 is {value}"):
        meter.add(8, metrics())
    assert np.isfinite(meter.report()["loss"])
