"""How well does the model of configs/tatoeba_zh_en.py translate when it is given its time?

Three times the steps, with more dropout to bear them, averaged parameters, and a beam of
five whose scores are divided by GNMT's length penalty. Three seeds, for the spread.

    python -m experiments.sweep --config=configs/tatoeba_zh_en_long.py --workdir=runs/tatoeba_zh_en_long

Minutes: 15 to 17 a run on two CPU cores, three runs.
Result: 33.4 ± 0.6 BLEU.
Date: 2026-11-24.
"""

from attention_jax.config import ExperimentConfig
from configs import tatoeba_zh_en


def get_config() -> dict[str, ExperimentConfig]:
    """Three seeds of one configuration."""
    runs = {f"seed={seed}": tatoeba_zh_en.get_config() for seed in range(3)}
    for seed, config in enumerate(runs.values()):
        config.seed = seed
        config.model.dropout = 0.4
        training, decoding = config.training, config.decoding
        training.steps = 12_000
        training.eval_every = training.checkpoint_every = 2_000
        training.ema_decay, training.best_by = 0.999, "bleu"
        decoding.search, decoding.beam_size = "beam", 5
        decoding.length_penalty = "gnmt"
    return runs
