"""Evaluations and comparisons as tables of text."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from attention_jax.config import DecodingConfig
from attention_jax.decoding.searches import describe
from attention_jax.evaluation.attention_statistics import LEAST_COVERED
from attention_jax.evaluation.compare import (
    Comparison,
    SystemComparison,
    brief_fields,
    brief_values,
)
from attention_jax.evaluation.evaluate import Evaluation
from attention_jax.evaluation.significance import SAMPLES, SEED


class Table(NamedTuple):
    """A table with a head, and lines that stand below it."""

    title: str
    rows: list[list[str]]
    head: list[str]
    notes: list[str]


class Column(NamedTuple):
    """A figure of a `Comparison`'s runs: its name, its head, its format and its meaning."""

    figure: str
    head: str
    pattern: str = "{:.2f}"
    meaning: str = ""


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
# Of attention in the translations, and in forced references against gold alignments.
STATISTICS = (
    Column("entropy", "attention entropy", "{:.2f}", "nats; 0 is one source word"),
    Column("relative_entropy", "relative entropy", "{:.1%}", "of log S, the uniform"),
    Column(
        "covered", "source covered", "{:.1%}", f"words with {LEAST_COVERED} or more"
    ),
    Column("repeated", "repeated", "{:.1%}", "beyond a source word's first whole one"),
    Column("monotonicity", "monotonicity", "{:.2f}", "Kendall's τ of the argmax"),
    Column("last_word", "on the last word", "{:.1%}", "often the full stop"),
)
RATES = (
    Column("error_rate", "AER ↓", "{:.1%}", "alignment error rate, references forced"),
    Column("precision", "precision", "{:.1%}", "links that are sure or possible"),
    Column("recall", "recall", "{:.1%}", "sure links that are found"),
)


def evaluation_rows(
    evaluation: Evaluation, facts: Mapping[str, Any]
) -> list[tuple[str, str, str]]:
    """The figures of one run as (name, figure, how it was measured), and its provenance."""
    versions = facts["versions"]
    shown = ("attention_jax", "jax", "flax", "python")
    search = describe_search(evaluation.decoding)
    size = evaluation.decoding.batch_size
    speed = f"{search}, {size} at a time; compilation is not counted"
    return [
        *score_rows(evaluation, facts),
        *attention_rows(evaluation),
        ("sentences per second", f"{evaluation.sentences_per_second:,.0f}", speed),
        ("seed", str(facts["seed"]), f"of the data: {facts['data']['seed']}"),
        ("split hash", facts["split_hash"][:12], facts["split_hash"]),
        ("versions", "", ", ".join(f"{name} {versions[name]}" for name in shown)),
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
        for name, words in (
            ("attention on the linked word", "all_words"),
            ("... words without digits", "words_without_digits"),
        ):
            found = evaluation.alignment[words]
            beside = (
                f"{found['hits']:,} of {found['words']:,} words of exactly translated "
                f"sentences; {found['chance']:.1%} by chance"
            )
            table.append((name, _cell(found["share"], "{:.1%}"), beside))
    aligned = evaluation.aligned
    if aligned is not None:
        beside = (
            f"; a word's link is the argmax of its attention; {aligned.found:,} links, "
            f"{aligned.sure:,} sure gold ones from {facts.get('links', 'the data')}"
        )
        (name, figure, meaning), *others = _rows(aligned.rates, RATES)
        table += [(name, figure, meaning + beside), *others]
    return table


def attention_rows(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    """The statistics of attention in the translations; none without attention."""
    found = evaluation.attention
    return [] if found is None else _rows(dataclasses.asdict(found), STATISTICS)


def describe_search(decoding: DecodingConfig) -> str:
    """How translations were searched for: `beam, beam_size 5, length_penalty gnmt`."""
    return describe(decoding) + ", <unk> replaced" * decoding.replace_unknown


def dev_table(comparison: Comparison) -> Table:
    """The table of `compare_runs`: one row a run, then means over seeds."""
    runs = comparison.runs
    known = [run for run in runs if run.split_hash]
    fact = "another split, and perhaps other dev sentences"
    splits = common_facts((run.name, {fact: run.split_hash[:12]}) for run in known)
    notes = splits if len(splits) > 1 else []
    remarks = ["; ".join(run.notes) for run in runs]
    title = f"{len(runs)} runs, on dev"
    return comparison_table(comparison, title, DEV_COLUMNS, notes, remarks)


def system_tables(
    comparison: SystemComparison, *, title: str, unit: str
) -> list[Table]:
    """The tables of `compare_systems`; of one system, BLEU by source length alone.

    `title` is that of the first table, `unit` what source lengths count.
    """
    systems = comparison.runs
    tables = []
    if len(systems) > 1:
        columns = [Column(m.name, m.title) for m in systems[0].evaluation.metrics]
        columns.append(Column("sentences_per_second", "sentences/s", "{:,.0f}"))
        facts = []
        for system in systems:
            own = {m.name: m.signature for m in system.evaluation.metrics}
            own["search"] = describe_search(system.evaluation.decoding)
            own |= {name: system.facts[name] for name in ("split_hash", "device")}
            facts.append((system.name, own))
        tables.append(comparison_table(comparison, title, columns, common_facts(facts)))
    if comparison.baseline is not None:
        tables.append(_differences(comparison))
    tables.append(_by_length(comparison, unit))
    columns = (*STATISTICS, *RATES)
    columns = [c for c in columns if any(c.figure in s.figures for s in systems)]
    if len(systems) > 1 and columns:
        origins = sorted({system.facts.get("links", "the data") for system in systems})
        note = f"AER, precision and recall: forced references, links from {', '.join(origins)}"
        rows = [[run.name, *_cells(run.figures, columns)] for run in systems]
        head = ["run", *(column.head for column in columns)]
        notes = [note] if columns[-1] in RATES else []
        tables.append(Table("attention in the translations", rows, head, notes))
    return tables


def comparison_table(
    comparison: Comparison,
    title: str,
    columns: Sequence[Column],
    notes: Sequence[str] = (),
    remarks: Sequence[str] | None = None,
) -> Table:
    """One row a run, with the fields in which they differ, then means over seeds.

    `remarks`, one a run, are the last column; `notes` stand below.
    """
    runs, fields = comparison.runs, comparison.fields
    brief = brief_fields(fields)
    # "–": the run's configuration cannot be read.
    settings = {
        f: brief_values([run.config.get(f, "–") for run in runs]) for f in fields
    }
    rows = [
        [run.name, *(column[i] for column in settings.values())]
        + _cells(run.figures, columns)
        for i, run in enumerate(runs)
    ]
    names = [run.name for run in runs]
    for group in comparison.groups:
        # Any member has the group's values; only the seed is each run's own.
        member = names.index(group.names[0])
        own = ["–" if f == "seed" else column[member] for f, column in settings.items()]
        means, deviations = (
            _cells(figures, columns) for figures in (group.mean, group.deviation)
        )
        both = zip(means, deviations, strict=True)
        cells = [f"{mean} ± {spread}".removesuffix(" ± –") for mean, spread in both]
        rows.append([f"mean of {len(group.names)}", *own, *cells])
    head = ["run", *(brief[f] for f in fields), *(column.head for column in columns)]
    if remarks is not None:
        seeds = [f"seeds {', '.join(map(str, g.seeds))}" for g in comparison.groups]
        for row, text in zip(rows, [*remarks, *seeds], strict=True):
            row.append(text)
        head.append("notes")
    if comparison.groups:
        notes = ["± is the sample standard deviation over seeds", *notes]
    return Table(title, rows, head, list(notes))


def common_facts(facts: Iterable[tuple[str, Mapping[str, str]]]) -> list[str]:
    """Each fact of (run, its facts) as a line; what is not the same for all names its runs."""
    lines: dict[str, dict[str, list[str]]] = {}
    for run, own in facts:
        for name, text in own.items():
            lines.setdefault(name, {}).setdefault(text, []).append(run)
    return [
        f"{name}: {text}" + f" ({', '.join(runs)})" * (len(texts) > 1)
        for name, texts in lines.items()
        for text, runs in texts.items()
    ]


def _differences(comparison: SystemComparison) -> Table:
    """One row a system and metric, the baseline's first."""
    estimates = comparison.estimates
    baseline = {e.metric: e.score for e in estimates if e.system == comparison.baseline}
    titles = {m.name: m.title for m in comparison.runs[0].evaluation.metrics}
    rows = []
    for found in estimates:
        low, high = found.interval
        between = "–" if found.half_width is None else f"{low:.2f} to {high:.2f}"
        tested = found.p_value is not None
        more = f"{found.score - baseline[found.metric]:.2f}" if tested else "–"
        cells = f"{found.score:.2f}", between, more, _cell(found.p_value, "{:.4f}")
        rows.append([found.system, titles[found.metric], *cells])
    title = (
        f"against {comparison.baseline}: paired bootstrap, {SAMPLES:,} samples of the "
        f"sentences, seed {SEED}"
    )
    head = ["run", "metric", "score", "95 % interval", "difference", "p"]
    note = f"p is at least 1/{SAMPLES + 1:,}; it says nothing of another seed"
    return Table(title, rows, head, [note])


def _by_length(comparison: SystemComparison, unit: str) -> Table:
    """One row a bin."""
    names = [system.name for system in comparison.runs]
    heads = [f"BLEU {name}" for name in names] if len(names) > 1 else ["BLEU"]
    rows = []
    for found in comparison.by_length:
        scores = [
            f"{e.score:.2f} ± {_cell(e.half_width, '{:.2f}')}".removesuffix(" ± –")
            for e in found.bleu
        ]
        rows.append([found.name, f"{found.sentences:,}", *scores])
    note = "± is half the 95 % interval of the bootstrap over the bin's sentences"
    head = [f"source {unit}", "sentences", *heads]
    return Table("BLEU by source length", rows, head, [note])


def _cell(figure: float | None, pattern: str) -> str:
    return "–" if figure is None else pattern.format(figure)


def _cells(figures: Mapping[str, float | None], columns: Sequence[Column]) -> list[str]:
    """The figures as text; a dash for one that is not known."""
    return [_cell(figures.get(column.figure), column.pattern) for column in columns]


def _rows(
    figures: Mapping[str, float | None], columns: Sequence[Column]
) -> list[tuple[str, str, str]]:
    """Each figure as a row of its own: name, figure, meaning."""
    return [
        (c.head, _cell(figures.get(c.figure), c.pattern), c.meaning) for c in columns
    ]
