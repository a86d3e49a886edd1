"""From attention weights to links between words."""

import numpy as np
from jaxtyping import Float


def attention_links(weights: Float[np.ndarray, "T S"]) -> set[tuple[int, int]]:
    """Each target word with the source word that it most attended to: (s, t), from 0.

        {(argmax_s a_t(s), t)  for every t}

    The first of equals; a word that attended to nothing has no link.
    """
    return {
        (int(row.argmax()), t)
        for t, row in enumerate(np.asarray(weights))
        if row.size and row.max() > 0
    }
