"""The registry of data sources, and the sources that read the user's own files."""

import random
from collections.abc import Callable

from attention_jax.config import DataConfig
from attention_jax.data.pairs import Pair
from attention_jax.data.splits import Splits, find_leaks, split_by_group
from attention_jax.data.text import read_lines
from attention_jax.errors import UserError
from attention_jax.functions.registry import Registry

DataSource = Callable[[DataConfig], Splits]

data_sources: Registry[DataSource] = Registry("data source")


def register_data_source(name: str) -> Callable[[DataSource], DataSource]:
    """Decorator: makes a function from a configuration to splits a `config.source`."""

    def register(function: DataSource) -> DataSource:
        return data_sources.register(name, function, function=function)

    return register


def load_splits(config: DataConfig) -> Splits:
    """The train, dev and test pairs that `config` describes.

    The report gains the number of sentences that two splits share ("leaks"; 0 for every
    source that comes with this package). `config.num_train` keeps the first N training
    pairs, after the split: dev and test stay the same, and the pairs for a smaller number
    are a subset of those for a larger one.

    Raises:
      UserError: the source cannot use its input; an UnknownNameError if there is no
        source `config.source`.
    """
    splits = data_sources.get(config.source)(config)
    if config.num_train > len(splits.train):
        raise UserError(
            f"config.data.num_train must be at most {len(splits.train)}, the number of "
            f"training pairs of {config.source} after the split, got {config.num_train}"
        )
    report = {**splits.report, "leaks": len(find_leaks(splits))}
    train = splits.train[: config.num_train] if config.num_train else splits.train
    return splits._replace(train=train, report=report)


def split_at_most(pairs: list[Pair], config: DataConfig) -> Splits:
    """`split_by_group` of a random `config.num_pairs` of the pairs; of all for 0."""
    if 0 < config.num_pairs < len(pairs):
        kept = random.Random(config.seed).sample(range(len(pairs)), config.num_pairs)
        pairs = [pairs[index] for index in sorted(kept)]
    return split_by_group(pairs, config.num_dev, config.num_test, config.seed)


@register_data_source("tsv")
def tsv(config: DataConfig) -> Splits:
    """Pairs from two columns of the tab-separated file `config.path`.

    Raises:
      UserError: the file cannot be read, or a line has too few columns; names the line.
    """
    columns = (config.source_column, config.target_column)
    needed = max(columns) + 1
    rows = []
    lines = read_lines(config.path, field="config.data.path")
    for number, line in enumerate(lines, start=1):
        cells = line.split("\t") if line.strip() else [""] * needed
        if len(cells) < needed:
            raise UserError(
                f"{config.path}, line {number}: column {needed - 1} is asked for "
                f"(counted from 0), and the line has {len(cells)} tab-separated columns"
            )
        rows.append((cells[columns[0]], cells[columns[1]]))
    return _split(rows, config)


@register_data_source("text")
def text(config: DataConfig) -> Splits:
    """Pairs from line i of `config.path` and line i of `config.target_path`.

    Raises:
      UserError: a file cannot be read, or they differ in their number of lines.
    """
    source = read_lines(config.path, field="config.data.path")
    target = read_lines(config.target_path, field="config.data.target_path")
    if len(source) != len(target):
        raise UserError(
            f"line i of one file translates line i of the other, but {config.path} has "
            f"{len(source)} lines and {config.target_path} has {len(target)}"
        )
    return _split(list(zip(source, target, strict=True)), config)


def _split(rows: list[tuple[str, str]], config: DataConfig) -> Splits:
    """Normalises white space, drops empty and repeated pairs, splits, and reports it."""
    cleaned = [Pair(" ".join(a.split()), " ".join(b.split())) for a, b in rows]
    complete = [pair for pair in cleaned if pair.source and pair.target]
    pairs = list(dict.fromkeys(complete))
    if not pairs:
        raise UserError(f"{config.path} holds no pair with text on both sides")
    splits = split_at_most(pairs, config)
    report: dict[str, int | str] = {
        "lines": len(rows),
        "empty lines skipped": len(rows) - len(complete),
        "duplicates dropped": len(complete) - len(pairs),
        "left out by num_pairs": len(pairs) - sum(map(len, splits[:3])),
    }
    return splits._replace(report={**report, **splits.report})
