"""Does attention align words, whatever the wiring and the score?

Three scores in each of the three wirings, on phrases whose word alignment is known: CLDR's
dates and sums of money, where a piece of meaning may be several words, and a made-up lexicon
with reordering, where words correspond one to one. The references are forced on the
decoder, and each target word is linked to the source word it most attends to.

    python -m experiments.sweep --config=configs/alignment_error_rate.py --workdir=runs/alignment_error_rate

Minutes: at most 5 a run on two CPU cores, eighteen runs.
Result: 0 to 3 % AER on the lexicon, 64 to 83 % precision on CLDR, where 83.1 is the
most; experiments/README.md. Seed 0.
Date: 2026-11-23.
"""

import itertools

from attention_jax.config import ExperimentConfig
from configs import cldr_zh_en, synthetic_reverse

WIRINGS = ("after", "input_feeding", "before")
SCORES = ("dot", "bilinear", "additive")


def get_config() -> dict[str, ExperimentConfig]:
    """A run for each of the two sources of pairs, each wiring and each score."""
    runs = itertools.product(("lexicon", "cldr"), WIRINGS, SCORES)
    return {"+".join(names): _config(*names) for names in runs}


def _config(source: str, wiring: str, score: str) -> ExperimentConfig:
    if source == "cldr":
        config = cldr_zh_en.get_config()
    else:
        config = synthetic_reverse.get_config()
        config.data.task = source
        config.data.num_test = 1_000
        config.model.dropout = 0.1
    config.model.attention, config.model.score = wiring, score
    return config
