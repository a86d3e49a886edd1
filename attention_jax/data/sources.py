"""Where pairs come from: the table of data sources, and loading one."""

import random
from collections.abc import Callable

from attention_jax.config import DataConfig
from attention_jax.data.splits import Splits, find_leaks
from attention_jax.functions.registry import Registry

DataSource = Callable[[DataConfig], Splits]

data_sources: Registry[DataSource] = Registry("data source")


def register_data_source(name: str) -> Callable[[DataSource], DataSource]:
    """Decorator: makes a function from a configuration to splits a `config.source`."""

    def register(function: DataSource) -> DataSource:
        return data_sources.register(name, function, function=function)

    return register


def load_splits(config: DataConfig) -> Splits:
    """The splits that `config` asks for.

    The report gains the number of sentences that two splits share ("leaks"; 0 for every
    source that comes with this package). `config.num_train` keeps the first so many
    training pairs, after the split: dev and test stay what they were, and the sets for a
    smaller number are subsets of those for a larger.

    Raises:
      UnknownNameError: there is no source `config.source`.
      ValueError, OSError: whatever that source objects to, named.
    """
    source = data_sources.get(config.source)
    for name in ("num_pairs", "num_dev", "num_test", "num_train"):
        value = getattr(config, name)
        if value < 0:
            raise ValueError(f"config.data.{name} must be at least 0, got {value}")
    splits = source(config)
    if config.num_train > len(splits.train):
        raise ValueError(
            f"config.data.num_train is {config.num_train}, and {config.source} has only "
            f"{len(splits.train)} training pairs after the split"
        )
    report = {**splits.report, "leaks": len(find_leaks(splits))}
    train = splits.train[: config.num_train] if config.num_train else splits.train
    return splits._replace(train=train, report=report)


def keep_at_most(pairs: list, limit: int, seed: int) -> list:
    """A random subset of `limit` of the pairs, in their order; all of them for 0."""
    if not limit or limit >= len(pairs):
        return pairs
    kept = random.Random(seed).sample(range(len(pairs)), limit)
    return [pairs[index] for index in sorted(kept)]
