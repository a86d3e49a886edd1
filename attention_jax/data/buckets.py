"""Which few (source, target) shapes to pad batches to."""

import numpy as np
from jaxtyping import Float64, Int64

Shape = tuple[int, int]

# Lengths considered on either axis. More distinct ones are thinned to these quantiles.
_MAX_CANDIDATES = 48


def bucket_shapes(
    lengths: Int64[np.ndarray, "N 2"], num_buckets: int
) -> tuple[Shape, ...]:
    """At most `num_buckets` shapes that every length pair fits into, with little padding.

    A pair (s, t) is padded to the smallest shape (S, T), by S + T, with S ≥ s and T ≥ t;
    the cost is the sum of S + T over the pairs. Among shapes that grow along both axes
    together the optimum is found by a dynamic programme over the histogram of lengths;
    from there single shapes are moved, one at a time, while that lowers the cost, which
    gives up the nesting where the lengths of the two sides do not go together.

    Args:
      lengths: source words and target words (with EOS) of each example.
      num_buckets: at least 1.

    Returns:
      The shapes in increasing order of S + T; sides are at least 1.

    Cost:
      O(num_buckets · C⁴) multiplications for C ≤ 48 candidate lengths a side, whatever N.
    """
    if num_buckets < 1:
        raise ValueError(f"num_buckets must be at least 1, got {num_buckets}")
    if len(lengths) == 0:
        return ((1, 1),)
    lengths = np.maximum(lengths, 1)
    sources = _candidates(lengths[:, 0])
    targets = _candidates(lengths[:, 1])
    rows = np.searchsorted(sources, lengths[:, 0])
    columns = np.searchsorted(targets, lengths[:, 1])
    counts = np.zeros((len(sources), len(targets)))
    np.add.at(counts, (rows, columns), 1.0)
    sizes = (sources[:, None] + targets[None, :]).astype(float)
    chain = _best_chain(counts, sizes, num_buckets)
    # Cells that no nested chain has a use for start on top of the largest.
    chain += chain[:1] * (num_buckets - len(chain))
    cells = _improve(chain, counts, sizes)
    shapes = {(int(sources[row]), int(targets[column])) for row, column in cells}
    return tuple(sorted(shapes, key=lambda shape: (sum(shape), shape)))


def _candidates(lengths: Int64[np.ndarray, " N"]) -> Int64[np.ndarray, " C"]:
    found = np.unique(lengths)
    if len(found) <= _MAX_CANDIDATES:
        return found
    levels = np.linspace(0.0, 1.0, _MAX_CANDIDATES)
    return np.unique(np.quantile(lengths, levels, method="higher"))


def _best_chain(
    counts: Float64[np.ndarray, "I J"],
    sizes: Float64[np.ndarray, "I J"],
    num_buckets: int,
) -> list[tuple[int, int]]:
    """Cells (i₁, j₁) ≤ (i₂, j₂) ≤ … ending in the last, of least cost.

    best_k(c) = min over c' ≤ c of best_{k−1}(c') + (fit(c) − fit(c')) · size(c), where
    fit(c) is the number of pairs that cell c has room for.
    """
    fit = counts.cumsum(0).cumsum(1)
    best = fit * sizes
    back = []
    for _ in range(num_buckets - 1):
        longer = best.copy()
        came_from = np.full((*best.shape, 2), -1)
        for i, j in np.ndindex(best.shape):
            cost = best[: i + 1, : j + 1] - fit[: i + 1, : j + 1] * sizes[i, j]
            row, column = np.unravel_index(np.argmin(cost), cost.shape)
            through = cost[row, column] + fit[i, j] * sizes[i, j]
            if through < longer[i, j]:
                longer[i, j] = through
                came_from[i, j] = row, column
        best = longer
        back.append(came_from)
    cell = (counts.shape[0] - 1, counts.shape[1] - 1)
    chain = [cell]
    for came_from in reversed(back):
        row, column = came_from[cell]
        if row >= 0:
            cell = (int(row), int(column))
            chain.append(cell)
    return chain


def _improve(
    cells: list[tuple[int, int]],
    counts: Float64[np.ndarray, "I J"],
    sizes: Float64[np.ndarray, "I J"],
) -> list[tuple[int, int]]:
    """Moves one cell at a time to where it costs least, until none moves."""
    cells = list(cells)
    cost = float(np.sum(_padded(cells, counts, sizes) * counts))
    moved = True
    while moved:
        moved = False
        for place in range(len(cells)):
            others = _padded(cells[:place] + cells[place + 1 :], counts, sizes)
            for candidate in np.ndindex(counts.shape):
                corner = np.s_[: candidate[0] + 1, : candidate[1] + 1]
                padded = others.copy()
                padded[corner] = np.minimum(padded[corner], sizes[candidate])
                trial = float(np.sum(padded * counts))
                if trial < cost:
                    cost, moved = trial, True
                    cells[place] = candidate
    return cells


def _padded(
    cells: list[tuple[int, int]],
    counts: Float64[np.ndarray, "I J"],
    sizes: Float64[np.ndarray, "I J"],
) -> Float64[np.ndarray, "I J"]:
    """The size each length pair is padded to; one that fits nowhere outweighs them all."""
    padded = np.full(sizes.shape, sizes.max() * (counts.sum() + 1.0))
    for row, column in cells:
        corner = np.s_[: row + 1, : column + 1]
        padded[corner] = np.minimum(padded[corner], sizes[row, column])
    return padded


def assign_buckets(
    lengths: Int64[np.ndarray, "N 2"], shapes: tuple[Shape, ...]
) -> Int64[np.ndarray, " N"]:
    """The index of the smallest shape, by S + T, that each length pair fits into.

    Raises:
      ValueError: a pair fits into none.
    """
    table = np.asarray(shapes)
    fits = (lengths[:, None, :] <= table[None, :, :]).all(-1)
    if not np.all(np.any(fits, axis=1)):
        row = int(np.flatnonzero(~np.any(fits, axis=1))[0])
        raise ValueError(
            f"example {row} has lengths {tuple(map(int, lengths[row]))}, which fit into "
            f"none of the shapes {shapes}"
        )
    sizes = np.where(fits, table.sum(-1)[None, :], np.iinfo(np.int64).max)
    return sizes.argmin(1)
