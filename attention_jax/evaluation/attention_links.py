"""From attention weights to links between words."""

import numpy as np
from jaxtyping import Float


def attention_links(
    weights: Float[np.ndarray, "T S"],
    end_weights: Float[np.ndarray, " S"] | None = None,
    *,
    shift: int = 0,
) -> set[tuple[int, int]]:
    """Each target word with the source word that was most attended to: (s, t), from 0.

        {(argmax_s a_{t + shift}(s), t)  for every t}

    The first of equals; a word whose step attended to nothing has no link.

    Args:
      weights: row t is the attention that target word t was predicted with.
      end_weights: that of the end of the sentence, which follows the last row.
      shift: 0 takes the step that predicts a word, 1 the step after it, of which the word
        is the input. Chen et al., 2020, aclanthology.org/2020.emnlp-main.42.

    Raises:
      ValueError: shift is neither 0 nor 1, or 1 without end_weights; a weight is not a
        number.
    """
    if shift not in (0, 1):
        raise ValueError(f"shift must be 0 or 1, got {shift}")
    rows = np.asarray(weights)
    if shift:
        if end_weights is None:
            raise ValueError(
                "shift of 1 needs end_weights, the row after the last word"
            )
        rows = np.concatenate([rows, np.asarray(end_weights)[None]])[1:]
    if np.isnan(rows).any():
        raise ValueError(
            f"weights holds {int(np.isnan(rows).sum())} that are no numbers"
        )
    return {
        (int(row.argmax()), t)
        for t, row in enumerate(rows)
        if row.size and row.max() > 0
    }
