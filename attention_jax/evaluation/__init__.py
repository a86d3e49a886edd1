"""Evaluation: translation quality, alignments, attention statistics, figures, reports."""

from attention_jax.evaluation.plots import Panel, plot_weights, plot_weights_grid
from attention_jax.evaluation.quality import (
    Metric,
    bleu,
    chrf,
    exact_match,
    ter,
    translation_quality,
)
from attention_jax.evaluation.significance import (
    Estimate,
    LengthBin,
    bleu_by_length,
    equal_count_edges,
    paired_bootstrap,
)

__all__ = [
    "Estimate",
    "LengthBin",
    "Metric",
    "Panel",
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
