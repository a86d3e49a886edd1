"""Does attention find its way when the answer is known exactly?

Random sequences of symbols, to be written backwards: step t must look at word n + 1 − t.
Without attention one fixed vector has to remember the whole sequence
(--config.model.attention=none), and the longer it is the worse that goes
(--config.data.max_length=30).

    python -m experiments.train --config=configs/synthetic_reverse.py --workdir=runs/reverse

Minutes: 1 on two CPU cores.
Result: none claimed; a fast check of the whole pipeline.
Date: 2026-11-22.
"""

from attention_jax.config import (
    DataConfig,
    ExperimentConfig,
    ModelConfig,
    TrainingConfig,
)


def get_config() -> ExperimentConfig:
    """A small model on reversed sequences of 3 to 12 symbols."""
    return ExperimentConfig(
        data=DataConfig(
            source="synthetic",
            task="reverse",
            source_tokenizer="words",
            target_tokenizer="words",
            min_length=3,
            max_length=12,
            symbols=50,
            num_pairs=20_000,
            num_dev=500,
            num_test=500,
        ),
        model=ModelConfig(
            embedding_size=32,
            encoder_size=64,
            decoder_size=128,
        ),
        training=TrainingConfig(
            steps=1_200,
            learning_rate=3e-3,
            warmup_steps=50,
            eval_every=300,
            checkpoint_every=300,
        ),
    )
