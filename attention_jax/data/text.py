"""The user's own pairs: one file of columns, or two files of lines."""

from attention_jax.config import DataConfig
from attention_jax.data.files import read_lines
from attention_jax.data.pairs import Pair
from attention_jax.data.sources import keep_at_most, register_data_source
from attention_jax.data.splits import Splits, split_by_group


@register_data_source("tsv")
def tsv(config: DataConfig) -> Splits:
    """Pairs from two columns of the tab-separated file `config.path`.

    Raises:
      OSError: the file cannot be read.
      ValueError: it is not UTF-8, or a line has too few columns; names the line.
    """
    columns = (config.source_column, config.target_column)
    for name, column in zip(("source", "target"), columns, strict=True):
        if column < 0:
            raise ValueError(
                f"config.data.{name}_column must be at least 0, got {column}"
            )
    if columns[0] == columns[1]:
        raise ValueError(
            "config.data.source_column and config.data.target_column are both "
            f"{columns[0]}"
        )
    needed = max(columns) + 1
    rows = []
    for number, line in enumerate(
        read_lines(config.path, field="config.data.path"), start=1
    ):
        cells = line.split("\t")
        if not line.strip():
            cells = [""] * needed
        if len(cells) < needed:
            raise ValueError(
                f"{config.path}, line {number}: column {needed - 1} is asked for "
                f"(counted from 0), and the line has {len(cells)} tab-separated columns"
            )
        rows.append((cells[columns[0]], cells[columns[1]]))
    return _split(rows, config)


@register_data_source("text")
def text(config: DataConfig) -> Splits:
    """Pairs from line i of `config.path` and line i of `config.target_path`.

    Raises:
      OSError: a file cannot be read.
      ValueError: one is not UTF-8, or they differ in their number of lines.
    """
    source = read_lines(config.path, field="config.data.path")
    target = read_lines(config.target_path, field="config.data.target_path")
    if len(source) != len(target):
        raise ValueError(
            f"line i of one file translates line i of the other, but {config.path} has "
            f"{len(source)} lines and {config.target_path} has {len(target)}"
        )
    return _split(list(zip(source, target, strict=True)), config)


def _split(rows: list[tuple[str, str]], config: DataConfig) -> Splits:
    """Cleans white space, drops empty and repeated pairs, splits, and says what it did."""
    pairs: dict[Pair, None] = {}
    empty = []
    for number, row in enumerate(rows, start=1):
        source, target = (" ".join(cell.split()) for cell in row)
        if source and target:
            pairs[Pair(source, target)] = None
        else:
            empty.append(number)
    if not pairs:
        raise ValueError(f"{config.path} holds no pair with text on both sides")
    kept = keep_at_most(list(pairs), config.num_pairs, config.seed)
    splits = split_by_group(kept, config.num_dev, config.num_test, config.seed)
    skipped = f"{len(empty)}"
    if empty:
        first = ", ".join(map(str, empty[:5]))
        skipped += f" (lines {first}{', ...' if len(empty) > 5 else ''})"
    report: dict[str, int | str] = {"lines": len(rows), "empty lines skipped": skipped}
    report["duplicates dropped"] = len(rows) - len(empty) - len(pairs)
    report["left out by num_pairs"] = len(pairs) - len(kept)
    return splits._replace(report={**report, **splits.report})
