"""What the runs of a sweep are called, which is also where they are kept."""

import re
from collections.abc import Mapping, Sequence

from attention_jax.config import ExperimentConfig
from attention_jax.evaluation.config_variation import (
    brief_fields,
    brief_values,
    varying_fields,
)
from attention_jax.training.run_directory import config_to_dict, flatten

# Names are folders, and stand between commas in --only.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=+@-]*")
_UNFIT = re.compile(r"[^A-Za-z0-9_.=+@-]+")
# Characters; a file system takes 255 bytes.
_LONGEST = 120


def name_runs(
    configs: Sequence[ExperimentConfig] | Mapping[str, ExperimentConfig],
    *,
    single: str = "run",
) -> dict[str, ExperimentConfig]:
    """The configurations by name, in order.

    A mapping has its names. Those of a sequence say in which fields they differ,
    `score=dot+seed=1`; with a field more or less that differs, they all change.

    Args:
      configs: at least one, no two of them equal.
      single: what the only one of a sequence is called.

    Raises:
      ValueError: there are none, two are equal, or a name is no plain file name.
    """
    if not configs:
        raise ValueError("the sweep is empty: it needs a configuration")
    if isinstance(configs, Mapping):
        named = dict(configs)
        for name in named:
            _check_name(name)
        _check_distinct(list(named.values()), list(named))
    else:
        numbers = [f"number {number}" for number in range(1, len(configs) + 1)]
        _check_distinct(configs, numbers)
        named = dict(zip(_derived(configs, single), configs, strict=True))
    folders = [name.casefold() for name in named]
    for name in named:
        if folders.count(name.casefold()) > 1:
            raise ValueError(
                f"two runs of the sweep have the name {name!r}, or its case"
            )
    return named


def _derived(configs: Sequence[ExperimentConfig], single: str) -> list[str]:
    flat = [flatten(config_to_dict(config)) for config in configs]
    fields = varying_fields(flat)
    if not fields:
        return [_fit(single)]
    brief = brief_fields(fields)
    columns = [
        [f"{brief[field]}={text}" for text in brief_values([c[field] for c in flat])]
        for field in fields
    ]
    names = [_fit("+".join(cells)) for cells in zip(*columns, strict=True)]
    # What is not fit for a file name, or too long, may have been all the difference.
    folders = [name.casefold() for name in names]
    return [
        f"{name}@{folders[: number + 1].count(folder)}"
        if folders.count(folder) > 1
        else name
        for number, (name, folder) in enumerate(zip(names, folders, strict=True))
    ]


def _fit(name: str) -> str:
    return _UNFIT.sub("-", name)[:_LONGEST].lstrip(".-=+@") or "run"


def _check_name(name: object) -> None:
    if (
        not isinstance(name, str)
        or not _NAME.fullmatch(name)
        or not len(name) <= _LONGEST
    ):
        raise ValueError(
            f"the name of a run must be a file name of at most {_LONGEST} letters, "
            f"digits and . = + @ - _, got {name!r}"
        )


def _check_distinct(configs: Sequence[ExperimentConfig], names: Sequence[str]) -> None:
    for number, config in enumerate(configs):
        if config in configs[:number]:
            same = names[list(configs).index(config)]
            raise ValueError(
                f"{same} and {names[number]} of the sweep are the same configuration"
            )
