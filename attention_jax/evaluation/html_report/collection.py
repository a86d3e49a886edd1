"""What a report of a run shows, from the run's directory and an evaluation of it."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attention_jax.data.pairs import Pair
from attention_jax.evaluation import report
from attention_jax.evaluation.attention_statistics import AttentionStatistics
from attention_jax.evaluation.dev_evaluation import NUM_TRANSLATED
from attention_jax.evaluation.fonts import not_in_web_font
from attention_jax.evaluation.html_report.attention_maps import embedded_maps
from attention_jax.evaluation.html_report.report_data import (
    Curve,
    LengthRow,
    ReportData,
    Score,
    Sentence,
    Statistic,
)
from attention_jax.evaluation.quality import sentence_chrf
from attention_jax.evaluation.run_summary import RunSummary
from attention_jax.evaluation.significance import (
    bleu_by_length,
    equal_count_edges,
)

if TYPE_CHECKING:
    from attention_jax.config import ExperimentConfig
    from attention_jax.evaluation.evaluate import Evaluation
    from attention_jax.run import Run

_BINS = 6
_MEANINGS = {
    "entropy": "spread of a target word's attention, in nats: 0 is one source word",
    "relative_entropy": "the same as a share of log S: 1 is all source words alike",
    "covered": "share of source words that got at least half a word's attention",
    "repeated": "share of attention beyond the first whole one to a source word",
    "monotonicity": "Kendall's τ of target and brightest source positions: 1 in order",
    "last_word": "share of attention on the last source word, often the full stop",
}


def collect(
    run: "Run",
    summary: RunSummary,
    pairs: Sequence[Pair],
    evaluation: "Evaluation",
    facts: Mapping[str, Any],
) -> ReportData:
    """The report's data.

    Args:
      run: what translated; its own config is shown.
      summary: of its directory, for the learning curves.
      pairs, evaluation: the split and `evaluate.evaluate` of it.
      facts: `evaluate.provenance` with "split" and "checkpoint".
    """
    translations = evaluation.translations
    attends = run.attends
    entropies = [one.entropy for one in evaluation.statistics]
    maps = list(embedded_maps(translations)) if attends else [None] * len(pairs)
    lowercase = run.config.data.lowercase
    chrfs = sentence_chrf(
        evaluation.hypotheses, evaluation.references, lowercase=lowercase
    )
    sentences = [
        Sentence(
            number=number,
            source=pair.source,
            reference=pair.target,
            translation=found.text,
            chrf=round(chrf, 2),
            length=len(found.source_tokens),
            confidence=_confidence(found.log_prob, len(found.target_tokens)),
            entropy=entropy,
            map=drawn,
        )
        for number, (pair, found, chrf, entropy, drawn) in enumerate(
            zip(
                pairs,
                translations,
                chrfs,
                entropies or [None] * len(pairs),
                maps,
                strict=True,
            ),
            1,
        )
    ]
    rows = report.rows(evaluation, facts)
    # What comes after is the environment; attention has a section of its own.
    measured = rows[: [name for name, _, _ in rows].index("seed")]
    apart = report.attention_rows(evaluation)
    config = sorted(summary.config.items())
    return ReportData(
        name=summary.name,
        facts=_facts(run, summary, evaluation, facts),
        notes=_notes(summary, evaluation, sentences),
        scores=[Score(*row) for row in measured if row not in apart],
        curves=_curves(summary, run.config),
        length_unit=run.config.data.source_tokenizer,
        lengths=_lengths(run, evaluation),
        sentences=sentences,
        maps_note=_maps_note(attends, maps, evaluation),
        statistics=_statistics(evaluation.attention),
        config=[(name, str(value)) for name, value in config],
        environment=_environment(facts),
    )


def _facts(
    run: "Run", summary: RunSummary, evaluation: "Evaluation", facts: Mapping[str, Any]
) -> list[tuple[str, str]]:
    model, data = run.config.model, run.config.data
    attention = model.attention
    if run.attends:
        attention += f", {model.score}, {model.normalizer}"
    sizes = f"{model.cell}, {model.encoder_size} / {model.decoder_size}"
    found = [
        ("data", f"{data.source}, {data.source_language} → {data.target_language}"),
        ("split", f"{facts['split']}, {len(evaluation.translations):,} sentences"),
        ("attention", attention),
        ("model", sizes),
        ("checkpoint", facts["checkpoint"]),
        ("search", report.describe_search(evaluation.decoding)),
        ("seed", str(facts["seed"])),
    ]
    if summary.parameters is not None:
        found.insert(4, ("parameters", f"{summary.parameters:,}"))
    return found


def _notes(
    summary: RunSummary, evaluation: "Evaluation", sentences: Sequence[Sentence]
) -> list[str]:
    notes = list(summary.notes)
    texts = (f"{s.source}{s.reference}{s.translation}" for s in sentences)
    foreign = sorted(not_in_web_font("".join(texts)))
    if foreign:
        more = f" and {len(foreign) - 3:,} more" if len(foreign) > 3 else ""
        notes.append(
            f"the page brings no font for {' '.join(foreign[:3])}{more}: they are drawn "
            "where the reader has one"
        )
    if not any(evaluation.hypotheses):
        notes.append("no sentence was translated by any word")
    return notes


def _curves(summary: RunSummary, config: "ExperimentConfig") -> list[Curve]:
    """Training and dev as they went, where the run has rows of them."""
    dropout = ", with dropout" * (config.model.dropout > 0)
    translated = min(NUM_TRANSLATED, config.data.num_dev)
    curves = []
    for event, field, title in (
        # Not the objective, which label smoothing makes another quantity than dev's.
        ("train", "cross_entropy", f"training cross-entropy{dropout}"),
        ("dev", "loss", "dev cross-entropy"),
        ("dev", "bleu", f"dev BLEU, {translated} sentences"),
    ):
        having = [r for r in summary.rows if r["event"] == event and field in r]
        rows = _thinned(having)
        if rows:
            values = [float(row[field]) for row in rows]
            finite = [value if math.isfinite(value) else None for value in values]
            curves.append(Curve(title, [float(row["step"]) for row in rows], finite))
    return curves


def _thinned(rows: list[dict[str, Any]], most: int = 1_000) -> list[dict[str, Any]]:
    """Evenly as many as a screen shows, the last one among them."""
    stride = -(-len(rows) // most) or 1
    return rows[::-1][::stride][::-1]


def _lengths(run: "Run", evaluation: "Evaluation") -> list[LengthRow]:
    lengths = evaluation.source_lengths
    bins = bleu_by_length(
        {"run": evaluation.hypotheses},
        evaluation.references,
        lengths,
        edges=equal_count_edges(lengths, _BINS),
        language=run.config.data.target_language,
        lowercase=run.config.data.lowercase,
    )
    return [
        LengthRow(one.name, one.sentences, own.score, *own.interval)
        for one in bins
        for own in one.bleu
    ]


def _maps_note(attends: bool, maps: Sequence[object], evaluation: "Evaluation") -> str:
    if not attends:
        return "This run has no attention: its config.model.attention is none."
    drawable = [found.weights.size > 0 for found in evaluation.translations]
    left_out = sum(drawable) - sum(drawn is not None for drawn in maps)
    if not left_out:
        return ""
    return (
        f"{left_out:,} of {sum(drawable):,} attention maps were left out, so that the "
        "file stays small; experiments.export_attention writes them all."
    )


def _statistics(mean: AttentionStatistics | None) -> list[Statistic]:
    return [
        Statistic(name.replace("_", " "), getattr(mean, name), meaning)
        for name, meaning in _MEANINGS.items()
        if mean is not None
    ]


def _environment(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [
        ("commit", facts["commit"] or "not a checkout"),
        ("split hash", facts["split_hash"]),
        ("seed", str(facts["seed"])),
        ("seed of the data", str(facts["data"]["seed"])),
        ("device", facts["device"]),
        ("system", facts["system"]),
    ]
    return rows + list(facts["versions"].items())


def _confidence(log_prob: float, words: int) -> float:
    return round(math.exp(min(0.0, log_prob) / (words + 1)), 4)
