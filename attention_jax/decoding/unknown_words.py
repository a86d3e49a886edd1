"""Unknown words replaced by the source words that attention points to."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from attention_jax.data.vocabulary import UNK


def sources_of_unknown(
    ids: Sequence[int], weights: Float[np.ndarray, "T S"]
) -> dict[int, int]:
    """For each target word that is UNK, the source word it most attended to.

        s(t) = argmax_s a_t(s)   for w_t = UNK

    Names and numbers are often spelt the same on both sides. A word that attended to
    nothing is left out. Luong et al., 2015, aclanthology.org/P15-1002; by attention, Jean
    et al., 2015, aclanthology.org/P15-1001.
    """
    return {
        t: int(row.argmax())
        for t, (word, row) in enumerate(zip(ids, weights, strict=True))
        if word == UNK and row.size and row.max() > 0
    }
