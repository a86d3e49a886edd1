"""An evaluation as rows of text: name, figure, how it was measured."""

from collections.abc import Mapping
from typing import Any

from attention_jax.config import DecodingConfig
from attention_jax.decoding.searches import searches
from attention_jax.evaluation.alignment import ArgmaxAccuracy
from attention_jax.evaluation.attention_statistics import LEAST_COVERED
from attention_jax.evaluation.evaluate import Evaluation


def rows(
    evaluation: Evaluation, facts: Mapping[str, Any]
) -> list[tuple[str, str, str]]:
    """The figures, and the facts of `evaluate.provenance` that belong beside them."""
    table = [
        (metric.title, f"{metric.score:.2f}", metric.signature)
        for metric in evaluation.metrics
    ]
    if evaluation.alignment is not None:
        alignment = evaluation.alignment
        table += [
            _alignment_row("attention on the known word", alignment.all_words),
            _alignment_row("... words without digits", alignment.words_without_digits),
        ]
    table += _aligned_rows(evaluation, facts.get("links", "the data"))
    table += attention_rows(evaluation)
    versions = facts["versions"]
    shown = ("attention_jax", "jax", "flax", "python")
    table += [
        (
            "sentences per second",
            f"{evaluation.sentences_per_second:,.0f}",
            (
                f"{describe_search(evaluation.decoding)}, "
                f"{evaluation.decoding.batch_size} at a time; not counted: "
                f"{evaluation.compile_seconds:.1f} s for {evaluation.shapes} shapes"
            ),
        ),
        ("seed", str(facts["seed"]), f"of the data: {facts['data']['seed']}"),
        ("split hash", facts["split_hash"][:12], facts["split_hash"]),
        (
            "versions",
            "",
            ", ".join(f"{name} {versions[name]}" for name in shown if name in versions),
        ),
        ("device", "", facts["device"]),
    ]
    return table


def _aligned_rows(evaluation: Evaluation, origin: str) -> list[tuple[str, str, str]]:
    """AER, precision and recall, in %, against links that `origin` gives."""
    found = evaluation.aligned
    if found is None:
        return []
    step = "that predicts it" if not evaluation.shift else "after it"
    return [
        (
            "alignment error rate ↓",
            percent(found.error_rate),
            (
                f"references forced; a word's link is the brightest of the step {step}; "
                f"{found.found:,} links, {found.sure:,} sure ones known from {origin}"
            ),
        ),
        (
            "... precision",
            percent(found.precision),
            (
                f"links that are sure or possible; at most "
                f"{percent(found.highest_precision)}: {found.found_known:,} are of words "
                "with a known link"
            ),
        ),
        ("... recall", percent(found.recall), "sure links that are found"),
    ]


def attention_rows(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    """What attention does in the translations."""
    found = evaluation.attention
    if found is None:
        return []
    share = percent(found.relative_entropy)
    return [
        (
            "attention entropy",
            figure(found.entropy),
            f"nats a target word; {share} % of log S, which is looking at all alike",
        ),
        (
            "... source covered",
            percent(found.covered),
            f"% of source words with {LEAST_COVERED} or more of all attention to them",
        ),
        (
            "... repeated",
            percent(found.repeated),
            "% of attention that is beyond the first whole one to a source word",
        ),
        (
            "... monotonicity",
            figure(found.monotonicity),
            "Kendall's τ of target order and brightest source word; -1 to 1",
        ),
        ("... on the last word", percent(found.last_word), "%, often the full stop"),
    ]


def percent(share: float | None) -> str:
    """A share as a percentage, with one digit; a dash for None."""
    return "–" if share is None else f"{100 * share:.1f}"


def figure(number: float | None) -> str:
    """A number with two digits; a dash for None."""
    return "–" if number is None else f"{number:.2f}"


def describe_search(decoding: DecodingConfig) -> str:
    """How translations were searched for, in a few words: `beam of 5, length penalty gnmt^0.6`."""
    words = searches.get(decoding.search).describe(decoding)
    return words + ", <unk> replaced" * decoding.replace_unknown


def _alignment_row(name: str, accuracy: ArgmaxAccuracy) -> tuple[str, str, str]:
    if accuracy.share is None:
        return name, "–", "no exactly translated phrase has such a word"
    return (
        name,
        f"{100 * accuracy.share:.1f}",
        (
            f"{accuracy.hits:,} of {accuracy.words:,} words of exactly translated "
            f"phrases; {100 * accuracy.chance:.1f} by chance"
        ),
    )
