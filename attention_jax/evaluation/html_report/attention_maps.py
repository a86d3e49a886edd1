"""Weights small enough to be part of a page."""

import base64
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from attention_jax.evaluation.html_report.report_data import AttentionMap

if TYPE_CHECKING:
    from attention_jax.run import Translation

# Cells of all maps of a report, a byte each before base64, and of one, each an element of
# the page while it is shown.
MOST_CELLS = 1_200_000
MOST_CELLS_OF_ONE = 10_000


def attention_map(
    weights: Float[np.ndarray, "T S"], source: Iterable[str], target: Iterable[str]
) -> AttentionMap:
    """The map with weights rounded to 1/255 of their range, which has [0, 1] in it."""
    weights = np.asarray(weights, np.float64)
    low, high = min(0.0, float(weights.min())), max(1.0, float(weights.max()))
    cells = np.rint((weights - low) / (high - low) * 255).astype(np.uint8)
    encoded = base64.b64encode(cells.tobytes()).decode("ascii")
    return AttentionMap(list(source), list(target), low, high, encoded)


def embedded_maps(
    translations: "Iterable[Translation]", *, most_cells: int = MOST_CELLS
) -> Iterator[AttentionMap | None]:
    """The map of each translation; None without words or weights, or for want of room.

    In order, as long as all together have at most `most_cells`.
    """
    left = most_cells
    for found in translations:
        size = found.weights.size
        if size and size <= min(left, MOST_CELLS_OF_ONE):
            left -= size
            yield attention_map(found.weights, found.source_tokens, found.target_tokens)
        else:
            yield None
