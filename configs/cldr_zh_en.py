"""Does Luong-style dot attention translate, and does it show the right words?

Chinese to English dates, times, amounts of money and measures generated from CLDR, with the
plainest wiring: the decoder's state s_t attends by dot product, softmax, and the next word
is predicted from [o_t ; s_t] by one matrix. The reordering is real ("2024年3月5日星期二" to
"Tuesday, March 5, 2024"), and which word belongs to which is known.

    python -m experiments.train --config=configs/cldr_zh_en.py --workdir=runs/cldr_zh_en

Minutes: 3 on two CPU cores.
Result: 98.8 % exactly right (seed 0), known word 93.1 %; three seeds in experiments/README.md.
Date: 2026-11-23.
"""

from attention_jax.config import (
    DataConfig,
    DecodingConfig,
    ExperimentConfig,
    ModelConfig,
    TrainingConfig,
)


def get_config() -> ExperimentConfig:
    """Luong-style dot attention on the built-in data."""
    return ExperimentConfig(
        data=DataConfig(source="cldr", source_language="zh", target_language="en"),
        model=ModelConfig(
            attention="after",
            score="dot",
            readout="linear",
            embedding_size=64,
            encoder_size=128,
            # As wide as the encoder's output, which `dot` needs.
            decoder_size=256,
            # Without it a run may learn to read a word off the state beside its own.
            dropout=0.1,
        ),
        training=TrainingConfig(
            batch_size=128,
            steps=1_000,
            learning_rate=3e-3,
            warmup_steps=50,
            eval_every=250,
            checkpoint_every=250,
        ),
        decoding=DecodingConfig(batch_size=100),
    )
