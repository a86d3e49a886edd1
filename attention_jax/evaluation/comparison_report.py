"""A comparison of systems as tables of text: scores, differences, BLEU by length."""

from typing import NamedTuple

from attention_jax.evaluation.config_variation import brief_fields, brief_values
from attention_jax.evaluation.report import describe_search, figure, percent
from attention_jax.evaluation.significance import SAMPLES, SEED, Estimate
from attention_jax.evaluation.system_comparison import System, SystemComparison

# Fields that get a column of their own; more are named below the table.
MOST_FIELDS = 5


class Table(NamedTuple):
    """A table with a head, and lines that stand below it."""

    title: str
    head: list[str]
    rows: list[list[str]]
    notes: list[str]


def tables(comparison: SystemComparison, *, title: str, unit: str) -> list[Table]:
    """What `experiments.evaluate` prints of several systems, and of one BLEU by length.

    Args:
      comparison: of `compare_systems`.
      title: of the first table.
      unit: what source lengths count.
    """
    found = []
    if len(comparison.systems) > 1:
        found.append(_scores(comparison, title))
    if comparison.baseline is not None:
        found.append(_differences(comparison))
    found.append(_by_length(comparison, unit))
    attends = any(system.evaluation.attention for system in comparison.systems)
    if attends and len(comparison.systems) > 1:
        found.append(_attention(comparison.systems))
    return found


def _scores(comparison: SystemComparison, title: str) -> Table:
    """One row a system, then means over seeds."""
    systems, fields = comparison.systems, comparison.fields[:MOST_FIELDS]
    brief = brief_fields(comparison.fields)
    metrics = systems[0].evaluation.metrics
    columns = [
        brief_values([system.config.get(field, "–") for system in systems])
        for field in fields
    ]
    rows = [
        [
            system.name,
            *(column[number] for column in columns),
            *(f"{metric.score:.2f}" for metric in system.evaluation.metrics),
            f"{system.evaluation.sentences_per_second:,.0f}",
        ]
        for number, system in enumerate(systems)
    ]
    names = [system.name for system in systems]
    for group in comparison.seeds:
        member = names.index(group.names[0])
        settings = [
            "–" if name == "seed" else column[member]
            for name, column in zip(fields, columns, strict=True)
        ]
        means = [
            f"{group.mean[metric.name]:.2f} ± {group.deviation[metric.name]:.2f}"
            for metric in metrics
        ]
        rows.append([f"mean of {len(group.names)}", *settings, *means, "–"])
    notes = []
    more = comparison.fields[MOST_FIELDS:]
    if more:
        notes.append(f"fields that differ, too: {', '.join(more)}")
    if comparison.seeds:
        notes.append("± is the sample standard deviation over seeds")
    return Table(
        title,
        ["run", *(brief[name] for name in fields)]
        + [metric.title for metric in metrics]
        + ["sentences/s"],
        rows,
        notes + _common(systems),
    )


def _common(systems: tuple[System, ...]) -> list[str]:
    """How the figures were made; what is not the same for all is said of each."""
    facts: dict[str, dict[str, list[str]]] = {}
    for system in systems:
        said = {m.name: m.signature for m in system.evaluation.metrics}
        said["search"] = describe_search(system.evaluation.decoding)
        said["split hash"] = system.facts["split_hash"]
        said["device"] = system.facts["device"]
        for name, text in said.items():
            facts.setdefault(name, {}).setdefault(text, []).append(system.name)
    return [
        f"{name}: {text}" + f" ({', '.join(names)})" * (len(texts) > 1)
        for name, texts in facts.items()
        for text, names in texts.items()
    ]


def _differences(comparison: SystemComparison) -> Table:
    """One row a system and metric, the baseline's first."""
    baseline = {
        found.metric: found.score
        for found in comparison.estimates
        if found.system == comparison.baseline
    }
    titles = {m.name: m.title for m in comparison.systems[0].evaluation.metrics}
    rows = []
    for found in comparison.estimates:
        low, high = found.interval
        difference = found.score - baseline[found.metric]
        tested = found.p_value is not None
        rows.append(
            [
                found.system,
                titles[found.metric],
                f"{found.score:.2f}",
                "–" if found.half_width is None else f"{low:.2f} to {high:.2f}",
                f"{difference:.2f}" if tested else "–",
                f"{found.p_value:.4f}" if tested else "–",
            ]
        )
    return Table(
        f"against {comparison.baseline}: paired bootstrap, {SAMPLES:,} samples of the "
        f"sentences, seed {SEED}",
        ["run", "metric", "score", "95 % interval", "difference", "p"],
        rows,
        [f"p is at least 1/{SAMPLES + 1:,}; it says nothing of another seed"],
    )


def _by_length(comparison: SystemComparison, unit: str) -> Table:
    """One row a bin."""

    def cell(estimate: Estimate) -> str:
        half = estimate.half_width
        return f"{estimate.score:.2f}" + (f" ± {half:.2f}" if half is not None else "")

    names = [system.name for system in comparison.systems]
    several = len(names) > 1
    return Table(
        "BLEU by source length",
        [
            f"source {unit}",
            "sentences",
            *(f"BLEU {name}" if several else "BLEU" for name in names),
        ],
        [
            [found.name, f"{found.sentences:,}", *map(cell, found.bleu)]
            for found in comparison.by_length
        ],
        ["± is half the 95 % interval of the bootstrap over the bin's sentences"],
    )


def _attention(systems: tuple[System, ...]) -> Table:
    """One row a system: what its attention does, and how its links agree with known ones."""
    head = ["run", "entropy", "covered %", "repeated %", "monotonicity", "last word %"]
    known = any(system.evaluation.aligned for system in systems)
    head += ["AER % ↓", "precision %", "recall %"] * known
    rows = []
    for system in systems:
        row, found = [system.name], system.evaluation.attention
        row += (
            [
                figure(found.entropy),
                percent(found.covered),
                percent(found.repeated),
                figure(found.monotonicity),
                percent(found.last_word),
            ]
            if found
            else ["–"] * 5
        )
        if known:
            aligned = system.evaluation.aligned
            row += (
                [
                    percent(aligned.error_rate),
                    percent(aligned.precision),
                    percent(aligned.recall),
                ]
                if aligned
                else ["–"] * 3
            )
        rows.append(row)
    origins = {system.facts.get("links", "the data") for system in systems}
    told = "AER, precision and recall: in forced references, against links from "
    notes = [told + ", ".join(sorted(origins))] * known
    return Table("attention in the translations", head, rows, notes)
