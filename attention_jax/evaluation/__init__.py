"""Evaluation: translation quality, attention against known alignments, figures."""

from attention_jax.evaluation.attention_alignment import (
    AlignedPhrase,
    AlignmentAccuracy,
    ArgmaxAccuracy,
    alignment_accuracy,
)
from attention_jax.evaluation.figures import Panel, plot_weights, plot_weights_grid
from attention_jax.evaluation.quality_by_length import (
    LengthBin,
    bleu_by_length,
    equal_count_edges,
)
from attention_jax.evaluation.significance import Estimate, paired_bootstrap
from attention_jax.evaluation.translation_quality import (
    Metric,
    bleu,
    chrf,
    exact_match,
    ter,
    translation_quality,
)

__all__ = [
    "AlignedPhrase",
    "AlignmentAccuracy",
    "ArgmaxAccuracy",
    "Estimate",
    "LengthBin",
    "Metric",
    "Panel",
    "alignment_accuracy",
    "bleu",
    "bleu_by_length",
    "chrf",
    "equal_count_edges",
    "exact_match",
    "paired_bootstrap",
    "plot_weights",
    "plot_weights_grid",
    "ter",
    "translation_quality",
]
