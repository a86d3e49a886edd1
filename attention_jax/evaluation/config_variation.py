"""The fields in which several configurations differ, named and written briefly."""

import collections
import os
from collections.abc import Mapping, Sequence
from typing import Any

from attention_jax.config import ExperimentConfig
from attention_jax.training.run_directory import config_to_dict, flatten


def varying_fields(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The dotted names of the fields whose values are not all equal.

    Args:
      configs: each as `flatten` gives it.
    """
    names = dict.fromkeys(name for config in configs for name in config)
    return [
        name
        for name in names
        if any(config.get(name) != configs[0].get(name) for config in configs)
    ]


def alike_but_for_seed(configs: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    """The indices of configurations that are equal but for `seed`, in groups, in order.

    Args:
      configs: each as `flatten` gives it; one without a seed is in no group.
    """
    alike = collections.defaultdict(list)
    for index, config in enumerate(configs):
        if "seed" in config:
            alike[repr(sorted(without_seed(config).items()))].append(index)
    return list(alike.values())


def without_seed(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration's other fields."""
    return {name: value for name, value in config.items() if name != "seed"}


def brief_fields(names: Sequence[str]) -> dict[str, str]:
    """Each field by its last part, `model.score` as `score`, if only it has that part.

    `data.seed` keeps its section, whatever `names` are: `seed` is another field.
    """
    known = {*flatten(config_to_dict(ExperimentConfig())), *names}
    parts = [name.rpartition(".")[2] for name in known]
    brief = {}
    for name in names:
        part = name.rpartition(".")[2]
        brief[name] = part if parts.count(part) == 1 else name
    return brief


def brief_values(values: Sequence[Any]) -> list[str]:
    """One field's values as text; paths without their folders where that is enough."""
    full = [str(value) for value in values]
    brief = [os.path.basename(text) or text for text in full]
    return brief if len({*brief}) == len({*full}) else full
