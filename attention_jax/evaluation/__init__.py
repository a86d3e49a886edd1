"""Evaluation: translation quality, attention against known alignments, figures."""

from attention_jax.evaluation.attention_alignment import (
    AlignedPhrase,
    AlignmentAccuracy,
    ArgmaxAccuracy,
    alignment_accuracy,
)
from attention_jax.evaluation.figures import Panel, plot_weights, plot_weights_grid
from attention_jax.evaluation.translation_quality import (
    Metric,
    bleu,
    chrf,
    exact_match,
)

__all__ = [
    "AlignedPhrase",
    "AlignmentAccuracy",
    "ArgmaxAccuracy",
    "Metric",
    "Panel",
    "alignment_accuracy",
    "bleu",
    "chrf",
    "exact_match",
    "plot_weights",
    "plot_weights_grid",
]
