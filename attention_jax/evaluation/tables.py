"""Evaluations and comparisons as tables of text."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from attention_jax.config import DecodingConfig
from attention_jax.decoding.searches import searches
from attention_jax.evaluation.alignment import ArgmaxAccuracy
from attention_jax.evaluation.attention_statistics import LEAST_COVERED
from attention_jax.evaluation.compare import (
    Comparison,
    System,
    SystemComparison,
    brief_fields,
    brief_values,
)
from attention_jax.evaluation.evaluate import Evaluation
from attention_jax.evaluation.significance import SAMPLES, SEED, Estimate

# Fields that get a column of their own; more are named below the table.
MOST_FIELDS = 5


class Table(NamedTuple):
    """A table with a head, and lines that stand below it."""

    title: str
    head: list[str]
    rows: list[list[str]]
    notes: list[str]


class Column(NamedTuple):
    """A figure of a `Comparison`'s runs: its name, its head and its format."""

    figure: str
    head: str
    pattern: str = "{:.2f}"


DEV_COLUMNS = (
    Column("parameters", "parameters", "{:,.0f}"),
    Column("step", "steps", "{:,.0f}"),
    Column("minutes", "minutes", "{:.1f}"),
    Column("dev_loss", "dev loss", "{:.4f}"),
    Column("dev_bleu", "BLEU"),
    Column("last_dev_bleu", "last BLEU"),
    Column("exact_match", "exact %", "{:.1f}"),
    Column("tokens_per_second", "tokens/s", "{:,.0f}"),
)


def evaluation_rows(
    evaluation: Evaluation, facts: Mapping[str, Any]
) -> list[tuple[str, str, str]]:
    """The figures of one run as (name, figure, how it was measured), and where they are from.

    Args:
      evaluation: the figures.
      facts: of `evaluate.provenance`.
    """
    table = score_rows(evaluation, facts) + attention_rows(evaluation)
    versions = facts["versions"]
    shown = [f"{name} {versions[name]}" for name in ("attention_jax", "jax", "flax")]
    search = describe_search(evaluation.decoding)
    speed = (
        f"{search}, {evaluation.decoding.batch_size} at a time; not counted: "
        f"{evaluation.compile_seconds:.1f} s for {evaluation.shapes} shapes"
    )
    return [
        *table,
        ("sentences per second", f"{evaluation.sentences_per_second:,.0f}", speed),
        ("seed", str(facts["seed"]), f"of the data: {facts['data']['seed']}"),
        ("split hash", facts["split_hash"][:12], facts["split_hash"]),
        ("versions", "", ", ".join([*shown, f"python {versions['python']}"])),
        ("device", "", facts["device"]),
    ]


def score_rows(
    evaluation: Evaluation, facts: Mapping[str, Any]
) -> list[tuple[str, str, str]]:
    """The metrics, and how far attention agrees with gold alignments."""
    table = [
        (metric.title, f"{metric.score:.2f}", metric.signature)
        for metric in evaluation.metrics
    ]
    if evaluation.alignment is not None:
        alignment = evaluation.alignment
        table += [
            _argmax_row("attention on the linked word", alignment.all_words),
            _argmax_row("... words without digits", alignment.words_without_digits),
        ]
    found = evaluation.aligned
    if found is None:
        return table
    step = "after it" if evaluation.shift else "that predicts it"
    origin = facts.get("links", "the data")
    return [
        *table,
        (
            "alignment error rate ↓",
            _percent(found.error_rate),
            (
                f"references forced; a word's link is the argmax of the step {step}; "
                f"{found.found:,} links, {found.sure:,} sure gold ones from {origin}"
            ),
        ),
        (
            "... precision",
            _percent(found.precision),
            (
                "links that are sure or possible; at most "
                f"{_percent(found.highest_precision)}: {found.found_known:,} are of "
                "words with a gold link"
            ),
        ),
        ("... recall", _percent(found.recall), "sure links that are found"),
    ]


def attention_rows(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    """The statistics of attention in the translations; none without attention."""
    found = evaluation.attention
    if found is None:
        return []
    share = _percent(found.relative_entropy)
    return [
        (
            "attention entropy",
            _figure(found.entropy),
            f"nats a target word; {share} % of log S, which is uniform attention",
        ),
        (
            "... source covered",
            _percent(found.covered),
            f"% of source words with {LEAST_COVERED} or more of all attention to them",
        ),
        (
            "... repeated",
            _percent(found.repeated),
            "% of attention that is beyond the first whole one to a source word",
        ),
        (
            "... monotonicity",
            _figure(found.monotonicity),
            "Kendall's τ of target order and argmax source word; -1 to 1",
        ),
        ("... on the last word", _percent(found.last_word), "%, often the full stop"),
    ]


def describe_search(decoding: DecodingConfig) -> str:
    """How translations were searched for: `beam of 5, length penalty gnmt^0.6`."""
    words = searches.get(decoding.search).describe(decoding)
    return words + ", <unk> replaced" * decoding.replace_unknown


def dev_table(comparison: Comparison) -> Table:
    """The table of `compare_runs`: one row a run, then means over seeds."""
    by_split: dict[str, list[str]] = {}
    for run in comparison.runs:
        if run.split_hash:
            by_split.setdefault(run.split_hash, []).append(run.name)
    notes = []
    if len(by_split) > 1:
        splits = "; ".join(f"{s[:12]}: {', '.join(n)}" for s, n in by_split.items())
        notes.append(f"other splits, and perhaps other dev sentences: {splits}")
    title = f"{len(comparison.runs)} runs, on dev"
    table = _comparison_table(comparison, title, DEV_COLUMNS, notes)
    table.head.append("notes")
    beside = ["; ".join(run.notes) for run in comparison.runs]
    for group in comparison.groups:
        left_out = f"; {group.left_out} left out" * bool(group.left_out)
        beside.append(f"seeds {', '.join(map(str, group.seeds))}{left_out}")
    for row, text in zip(table.rows, beside, strict=True):
        row.append(text)
    return table


def system_tables(
    comparison: SystemComparison, *, title: str, unit: str
) -> list[Table]:
    """The tables of `compare_systems`; of one system, BLEU by source length alone.

    Args:
      comparison: the systems.
      title: of the first table.
      unit: what source lengths count.
    """
    systems = comparison.runs
    found = []
    if len(systems) > 1:
        metrics = systems[0].evaluation.metrics
        columns = [Column(metric.name, metric.title) for metric in metrics]
        columns.append(Column("sentences_per_second", "sentences/s", "{:,.0f}"))
        notes = _common(systems)
        found.append(_comparison_table(comparison, title, columns, notes))
    if comparison.baseline is not None:
        found.append(_differences(comparison))
    found.append(_by_length(comparison, unit))
    if len(systems) > 1 and any(system.evaluation.attention for system in systems):
        found.append(_attention(systems))
    return found


def _comparison_table(
    comparison: Comparison, title: str, columns: Sequence[Column], notes: list[str]
) -> Table:
    """One row a run, with the fields in which they differ, then means over seeds."""
    runs, fields = comparison.runs, comparison.fields[:MOST_FIELDS]
    brief = brief_fields(comparison.fields)
    # "–": the run's configuration cannot be read.
    settings = [brief_values([run.config.get(f, "–") for run in runs]) for f in fields]
    rows = []
    for number, run in enumerate(runs):
        cells = [
            "–" if run.figures[figure] is None else pattern.format(run.figures[figure])
            for figure, _, pattern in columns
        ]
        rows.append([run.name, *(column[number] for column in settings), *cells])
    names = [run.name for run in runs]
    for group in comparison.groups:
        # Any member has the group's values; only the seed is each run's own.
        member = names.index(group.names[0])
        own = [
            "–" if field == "seed" else column[member]
            for field, column in zip(fields, settings, strict=True)
        ]
        means = [
            f"{pattern.format(group.mean[figure])} ± "
            f"{pattern.format(group.deviation[figure])}"
            if figure in group.mean
            else "–"
            for figure, _, pattern in columns
        ]
        rows.append([f"mean of {len(group.names)}", *own, *means])
    more = comparison.fields[MOST_FIELDS:]
    below = [f"fields that differ, too: {', '.join(more)}"] if more else []
    if comparison.groups:
        below.append("± is the sample standard deviation over seeds")
    heads = ["run", *(brief[f] for f in fields), *(column.head for column in columns)]
    return Table(title, heads, rows, below + notes)


def _common(systems: Sequence[System]) -> list[str]:
    """How the figures were measured; what is not the same for all names its systems."""
    facts: dict[str, dict[str, list[str]]] = {}
    for system in systems:
        own = {m.name: m.signature for m in system.evaluation.metrics}
        own["search"] = describe_search(system.evaluation.decoding)
        own["split hash"] = system.facts["split_hash"]
        own["device"] = system.facts["device"]
        for name, text in own.items():
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
    titles = {m.name: m.title for m in comparison.runs[0].evaluation.metrics}
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

    names = [system.name for system in comparison.runs]
    heads = [f"BLEU {name}" for name in names] if len(names) > 1 else ["BLEU"]
    return Table(
        "BLEU by source length",
        [f"source {unit}", "sentences", *heads],
        [
            [found.name, f"{found.sentences:,}", *map(cell, found.bleu)]
            for found in comparison.by_length
        ],
        ["± is half the 95 % interval of the bootstrap over the bin's sentences"],
    )


def _attention(systems: Sequence[System]) -> Table:
    """One row a system: statistics of its attention, and its agreement with gold links."""
    head = ["run", "entropy", "covered %", "repeated %", "monotonicity", "last word %"]
    gold = any(system.evaluation.aligned for system in systems)
    head += ["AER % ↓", "precision %", "recall %"] * gold
    rows = []
    for system in systems:
        evaluation = system.evaluation
        cells = [figure for _, figure, _ in attention_rows(evaluation)] or ["–"] * 5
        if gold and (aligned := evaluation.aligned):
            rates = aligned.error_rate, aligned.precision, aligned.recall
            cells += map(_percent, rates)
        elif gold:
            cells += ["–"] * 3
        rows.append([system.name, *cells])
    origins = {system.facts.get("links", "the data") for system in systems}
    source = ", ".join(sorted(origins))
    note = (
        f"AER, precision and recall: in forced references, against links from {source}"
    )
    return Table("attention in the translations", head, rows, [note] * gold)


def _argmax_row(name: str, accuracy: ArgmaxAccuracy) -> tuple[str, str, str]:
    if accuracy.share is None:
        return name, "–", "no exactly translated sentence has such a word"
    return (
        name,
        f"{100 * accuracy.share:.1f}",
        (
            f"{accuracy.hits:,} of {accuracy.words:,} words of exactly translated "
            f"sentences; {100 * accuracy.chance:.1f} by chance"
        ),
    )


def _percent(share: float | None) -> str:
    """A share as a percentage, with one digit; a dash for None."""
    return "–" if share is None else f"{100 * share:.1f}"


def _figure(number: float | None) -> str:
    """A number with two digits; a dash for None."""
    return "–" if number is None else f"{number:.2f}"
