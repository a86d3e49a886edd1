"""Evaluation: translation quality, alignments, attention statistics, figures, reports."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attention_jax.evaluation.alignment import (
        AlignmentAccuracy,
        ArgmaxAccuracy,
        alignment_accuracy,
        alignment_error_rate,
    )
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

_MODULES = {
    "AlignmentAccuracy": "alignment",
    "ArgmaxAccuracy": "alignment",
    "Estimate": "significance",
    "LengthBin": "significance",
    "Metric": "quality",
    "Panel": "plots",
    "alignment_accuracy": "alignment",
    "alignment_error_rate": "alignment",
    "bleu": "quality",
    "bleu_by_length": "significance",
    "chrf": "quality",
    "equal_count_edges": "significance",
    "exact_match": "quality",
    "paired_bootstrap": "significance",
    "plot_weights": "plots",
    "plot_weights_grid": "plots",
    "ter": "quality",
    "translation_quality": "quality",
}

__all__ = [
    "AlignmentAccuracy",
    "ArgmaxAccuracy",
    "Estimate",
    "LengthBin",
    "Metric",
    "Panel",
    "alignment_accuracy",
    "alignment_error_rate",
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


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used: Matplotlib and sacrebleu take time."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_MODULES[name]}")
    return getattr(module, name)
