"""Tiny workloads for the tests, and candidates that do as told."""

import numpy as np

from attention_jax.attention import attention
from attention_jax.benchmarking.candidates import AS_GIVEN, Prepared, prepare_jax
from attention_jax.benchmarking.workload_masks import full
from attention_jax.benchmarking.workloads import Workload


def workload(*, name="mine", leading=(3, 2), T=5, S=7, size=4, mask=full, **options):
    return Workload(name, (), leading, T, S, size, size, size, mask, **options)


def scaled(factor):
    """A candidate whose results are `factor` times the right ones."""

    def prepare(case, inputs, budget):
        def attend(query, keys, values, extra):
            context = attention(query, keys, values, score=case.score, **extra).context
            return context * np.asarray(factor, context.dtype)

        extra = {
            "params": inputs.params,
            "mask": case.workload.mask.build(inputs.key_lengths),
        }
        return prepare_jax(attend, case, inputs, AS_GIVEN, extra, budget)

    return prepare


def raising(error):
    """A candidate that cannot be prepared."""

    def prepare(case, inputs, budget):
        raise error

    return prepare


def failing_later(error, *, after):
    """A right candidate that raises from its call number `after` on."""

    def prepare(case, inputs, budget):
        prepared = scaled(1)(case, inputs, budget)
        calls = iter(range(after))

        def run():
            if next(calls, None) is None:
                raise error
            return prepared.run()

        return Prepared(run=run, read=prepared.read, xla=prepared.xla)

    return prepare
