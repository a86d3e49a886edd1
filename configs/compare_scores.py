"""Which score function translates everyday Chinese best, and what is attention worth at all?

Every registered score in the model of configs/tatoeba_zh_en.py, and the same model without
attention. The decoder is as wide as the encoder's output, so that `dot` and its relatives
can be used too. A score that is registered later joins by itself.

    python -m experiments.sweep --config=configs/compare_scores.py --workdir=runs/compare_scores

Minutes: some 10 a run on two CPU cores.
Result: 28.7 BLEU (local_gaussian) to 25.7 (euclidean) where attention learns to look at
words; 19.3 and 17.7 for scaled_dot and low_rank_bilinear, which stay uniform and get stuck
on one word; 16.4 without attention. One seed; experiments/README.md.
Date: 2026-11-23.
"""

from attention_jax.config import ExperimentConfig
from configs import tatoeba_zh_en


def get_config() -> dict[str, ExperimentConfig]:
    """A run for each score, and one without attention."""
    # Not above: the registry's functions need jax, which takes a second to load.
    from attention_jax import score_names

    runs = {f"score={name}": tatoeba_zh_en.get_config() for name in score_names()}
    for name, config in zip(score_names(), runs.values(), strict=True):
        config.model.score = name
    without = tatoeba_zh_en.get_config()
    without.model.attention = "none"
    return runs | {"attention=none": without}
