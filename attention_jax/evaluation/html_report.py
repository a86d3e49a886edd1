"""A run as one HTML page that opens anywhere: what it scores, how it learnt, what it attends to.

The template writes tables and figures; the page's script draws sentences and attention from
JSON in the page, and shows their text by `textContent` alone.
"""

import base64
import hashlib
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np

from attention_jax.data.pairs import Pair
from attention_jax.decoding.translate import Translation
from attention_jax.evaluation import tables
from attention_jax.evaluation.compare import RunSummary, System, compare_systems
from attention_jax.evaluation.curves import plot_learning_curves, plot_length_curves
from attention_jax.evaluation.evaluate import Evaluation
from attention_jax.evaluation.fonts import web_font
from attention_jax.evaluation.quality import sentence_chrf
from attention_jax.run import Run
from attention_jax.training.run_directory import flatten

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Cells of all maps of a report, a byte each, and of one, each an element of the page.
MOST_CELLS, MOST_CELLS_OF_ONE = 1_200_000, 10_000


def collect(
    run: Run,
    summary: RunSummary,
    pairs: Sequence[Pair],
    evaluation: Evaluation,
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """The contents of a report, by the names that the page's template has for them.

    `sentences` are JSON values for the page's script; the figures are `data:` URLs, "" where
    there is nothing to draw; everything else is text. `facts` are `provenance` with "split"
    and "checkpoint".
    """
    sentences = list(_sentences(run, pairs, evaluation))
    config = flatten(run.config)
    compared = compare_systems([System("run", evaluation, facts, config)])
    unit = run.config.data.source_tokenizer
    return {
        "name": summary.name,
        "facts": _facts(run, summary, evaluation, facts),
        "notes": _notes(summary, evaluation, sentences),
        "scores": tables.score_rows(evaluation, facts),
        "maps_note": _maps_note(run, sentences, evaluation),
        "sentences": sentences,
        "curves": _data_url(plot_learning_curves([summary])) if summary.rows else "",
        "lengths": _data_url(plot_length_curves(compared.by_length, unit=unit)),
        "statistics": tables.attention_rows(evaluation),
        "environment": [
            ("commit", facts["commit"] or "not a checkout"),
            ("split hash", facts["split_hash"]),
            ("seed of the data", facts["data"]["seed"]),
            *((name, facts[name]) for name in ("device", "system")),
            *facts["versions"].items(),
        ],
        "config": sorted(summary.config.items()),
    }


def render(contents: Mapping[str, Any]) -> str:
    """The page of what `collect` gathered, in full."""
    assets = resources.files("attention_jax.evaluation") / "assets"
    page, style, script = (
        assets.joinpath(f"report.{kind}").read_text("utf-8")
        for kind in ("html", "css", "js")
    )
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    options = {"ensure_ascii": False, "allow_nan": False}
    environment.policies["json.dumps_kwargs"] = options
    font = web_font(_all_text(contents["sentences"])).url
    if font:
        source = f'url("{font}") format("woff")'
        style += f'@font-face {{ font-family: "Report"; src: {source}; }}\n'
    rendered = environment.from_string(page).render(
        **contents,
        style=style,
        style_source=_policy_source(style),
        script=script,
        script_source=_policy_source(script),
    )
    # UTF-8 cannot spell the half of a surrogate pair that a file's name may have.
    return rendered.encode("utf-8", "backslashreplace").decode("utf-8")


def _all_text(sentences: Sequence[Mapping[str, Any]]) -> str:
    fields = ("source", "reference", "translation")
    return "".join(one[field] for one in sentences for field in fields)


def _policy_source(text: str) -> str:
    """The name that a Content-Security-Policy has for exactly this text."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def encode_weights(found: Translation) -> dict[str, Any]:
    """The attention map [T, S] of a translation for the page, a byte a weight.

    A weight is low + (high - low) × byte / 255; the range has [0, 1] in it.
    """
    weights = np.asarray(found.weights, np.float64)
    low, high = min(0.0, float(weights.min())), max(1.0, float(weights.max()))
    cells = np.rint((weights - low) / (high - low) * 255).astype(np.uint8)
    text = base64.b64encode(cells.tobytes()).decode("ascii")
    sides = {"source": list(found.source_tokens), "target": list(found.target_tokens)}
    return {**sides, "low": low, "high": high, "weights": text}


def _sentences(
    run: Run, pairs: Sequence[Pair], evaluation: Evaluation
) -> Iterator[dict[str, Any]]:
    texts, lowercase = evaluation.hypotheses, run.config.data.lowercase
    chrfs = sentence_chrf(texts, evaluation.references, lowercase=lowercase)
    entropies = [one.entropy for one in evaluation.statistics] or [None] * len(pairs)
    room = MOST_CELLS if run.attends else 0
    rows = zip(pairs, evaluation.translations, chrfs, entropies, strict=True)
    for number, (pair, found, chrf, entropy) in enumerate(rows, 1):
        fits = 0 < found.weights.size <= min(room, MOST_CELLS_OF_ONE)
        room -= found.weights.size * fits
        words = len(found.target_tokens)
        yield {
            "number": number,
            "source": pair.source,
            "reference": pair.target,
            "translation": found.text,
            "chrf": round(chrf, 2),
            "length": len(found.source_tokens),
            # The geometric mean over predictions, the end of the sentence among them.
            "confidence": round(math.exp(min(0.0, found.log_prob) / (words + 1)), 4),
            "entropy": entropy,
            "map": encode_weights(found) if fits else None,
        }


def _facts(
    run: Run, summary: RunSummary, evaluation: Evaluation, facts: Mapping[str, Any]
) -> list[tuple[str, str]]:
    model, data = run.config.model, run.config.data
    attention = f"{model.attention}, {model.score}, {model.normalizer}"
    number = summary.figures["parameters"]
    return [
        ("data", f"{data.source}, {data.source_language} → {data.target_language}"),
        ("split", f"{facts['split']}, {len(evaluation.translations):,} sentences"),
        ("attention", attention if run.attends else model.attention),
        ("model", f"{model.cell}, {model.encoder_size} / {model.decoder_size}"),
        ("parameters", "unknown" if number is None else f"{number:,}"),
        ("checkpoint", facts["checkpoint"]),
        ("search", tables.describe_search(evaluation.decoding)),
        ("seed", str(facts["seed"])),
    ]


def _notes(
    summary: RunSummary, evaluation: Evaluation, sentences: Sequence[dict[str, Any]]
) -> list[str]:
    notes = list(summary.notes)
    missing = web_font(_all_text(sentences)).missing
    if missing:
        more = f" and {len(missing) - 3:,} more" if len(missing) > 3 else ""
        notes.append(
            f"the page brings no font for {' '.join(missing[:3])}{more}: they are drawn "
            "where the reader has one"
        )
    if not any(evaluation.hypotheses):
        notes.append("every translation is empty")
    return notes


def _maps_note(
    run: Run, sentences: Sequence[dict[str, Any]], evaluation: Evaluation
) -> str:
    if not run.attends:
        return "This run has no attention: its config.model.attention is none."
    drawable = sum(found.weights.size > 0 for found in evaluation.translations)
    left_out = drawable - sum(sentence["map"] is not None for sentence in sentences)
    return bool(left_out) * (
        f"{left_out:,} of {drawable:,} attention maps were left out, so that the file "
        "stays small; experiments.export_attention writes them all."
    )


def _data_url(figure: "Figure") -> str:
    file = io.BytesIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(file.getvalue()).decode()}"
