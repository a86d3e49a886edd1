"""Several runs on the same sentences: their scores, seeds averaged, differences tested."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from attention_jax.errors import UserError
from attention_jax.evaluation.config_variation import (
    alike_but_for_seed,
    varying_fields,
)
from attention_jax.evaluation.evaluate import Evaluation
from attention_jax.evaluation.significance import (
    Estimate,
    LengthBin,
    bleu_by_length,
    equal_count_edges,
    paired_bootstrap,
)


class System(NamedTuple):
    """A run that was evaluated.

    Attributes:
      name: tells it from the others.
      evaluation: what `evaluate.evaluate` found.
      facts: of `evaluate.provenance`.
      config: its configuration as `flatten` gives it.
    """

    name: str
    evaluation: Evaluation
    facts: Mapping[str, Any]
    config: Mapping[str, Any]


class SeedMean(NamedTuple):
    """Two systems or more that differ in the seed alone.

    Attributes:
      names, seeds: theirs; of several with one seed the first.
      mean, deviation: of each metric; the sample standard deviation.
    """

    names: tuple[str, ...]
    seeds: tuple[int, ...]
    mean: dict[str, float]
    deviation: dict[str, float]


@dataclasses.dataclass(frozen=True)
class SystemComparison:
    """What `compare_systems` found.

    Attributes:
      systems: the baseline first, if there is one.
      baseline: its name, or None.
      fields: in which the systems' configurations differ, by their dotted names.
      seeds: means over seeds.
      estimates: of each system and metric, tested against the baseline; else empty.
      by_length: BLEU by source length.
    """

    systems: tuple[System, ...]
    baseline: str | None
    fields: tuple[str, ...]
    seeds: tuple[SeedMean, ...]
    estimates: tuple[Estimate, ...]
    by_length: tuple[LengthBin, ...]

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON values; of one system its figures are at the top."""
        by_length = [
            {
                **found._asdict(),
                "bleu": [dataclasses.asdict(estimate) for estimate in found.bleu],
            }
            for found in self.by_length
        ]
        systems = [
            {**system.evaluation.to_dict(), **system.facts} for system in self.systems
        ]
        if len(systems) == 1:
            return {**systems[0], "by_length": by_length}
        return {
            "fields": list(self.fields),
            "systems": [
                {
                    "name": system.name,
                    "differs": {name: system.config.get(name) for name in self.fields},
                    **figures,
                }
                for system, figures in zip(self.systems, systems, strict=True)
            ],
            "seeds": [group._asdict() for group in self.seeds],
            "baseline": self.baseline,
            "estimates": [dataclasses.asdict(found) for found in self.estimates],
            "by_length": by_length,
        }


def compare_systems(
    systems: Sequence[System],
    *,
    baseline: bool = False,
    edges: Sequence[int] = (),
    bins: int = 6,
) -> SystemComparison:
    """Compares systems that were evaluated on the same sentences.

    Args:
      systems: one or more, of different names.
      baseline: whether the first one is what the others are tested against.
      edges: of the bins of source lengths, as `bleu_by_length` takes them; by default
        those that make `bins` bins of about as many sentences each. Lengths are those of
        the first system's tokens.
      bins: how many, where there are no edges.

    Raises:
      ValueError: no systems, two of one name, or references that are not the same: the
        sentences differ, or how the runs spell them.
    """
    if not systems:
        raise ValueError("systems is empty: there is nothing to compare")
    names = [system.name for system in systems]
    if len(set(names)) < len(names):
        raise ValueError(f"systems must have different names, got {', '.join(names)}")
    first = systems[0]
    references = first.evaluation.references
    for other in systems[1:]:
        if other.evaluation.references != references:
            raise UserError(
                f"{first.name} and {other.name} are measured against different "
                "references: other sentences, or config.data.lowercase differs"
            )
    data = {
        "language": first.config["data.target_language"],
        "lowercase": first.config["data.lowercase"],
    }
    hypotheses = {system.name: system.evaluation.hypotheses for system in systems}
    lengths = first.evaluation.source_lengths
    configs = [system.config for system in systems]
    return SystemComparison(
        systems=tuple(systems),
        baseline=first.name if baseline else None,
        fields=tuple(varying_fields(configs)),
        seeds=tuple(_seed_means(systems)),
        estimates=paired_bootstrap(hypotheses, references, **data) if baseline else (),
        by_length=bleu_by_length(
            hypotheses,
            references,
            lengths,
            edges=edges or equal_count_edges(lengths, bins),
            **data,
        ),
    )


def _seed_means(systems: Sequence[System]) -> list[SeedMean]:
    """The groups of systems that differ in `config.seed` alone, of two seeds or more."""
    groups = []
    for indices in alike_but_for_seed([system.config for system in systems]):
        by_seed: dict[int, System] = {}
        for index in indices:
            by_seed.setdefault(systems[index].config["seed"], systems[index])
        if len(by_seed) < 2:
            continue
        scores: dict[str, list[float]] = {}
        for system in by_seed.values():
            for metric in system.evaluation.metrics:
                scores.setdefault(metric.name, []).append(metric.score)
        groups.append(
            SeedMean(
                names=tuple(system.name for system in by_seed.values()),
                seeds=tuple(by_seed),
                mean={name: statistics.fmean(found) for name, found in scores.items()},
                deviation={
                    name: statistics.stdev(found) for name, found in scores.items()
                },
            )
        )
    return groups
