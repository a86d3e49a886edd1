"""Evaluation: translation quality, alignments, attention statistics, figures, reports.

A module of the package that loads models is imported when it is first used.
"""

import importlib
from typing import Any

from attention_jax.evaluation.plots import Panel, plot_weights, plot_weights_grid
from attention_jax.evaluation.quality import (
    Metric,
    bleu,
    exact_match,
    translation_quality,
)
from attention_jax.evaluation.significance import (
    Estimate,
    LengthBin,
    bleu_by_length,
    equal_count_edges,
    paired_bootstrap,
)

_MODULES = (
    *("alignment", "attention_files", "compare", "curves", "evaluate"),
    *("html_report", "tables"),
)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Estimate",
    "LengthBin",
    "Metric",
    "Panel",
    "bleu",
    "bleu_by_length",
    "equal_count_edges",
    "exact_match",
    "paired_bootstrap",
    "plot_weights",
    "plot_weights_grid",
    "translation_quality",
]
