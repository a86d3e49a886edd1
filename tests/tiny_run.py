"""A run small enough to train within a test session, and good enough to evaluate."""

import pathlib

from attention_jax.config import ExperimentConfig
from attention_jax.experiment import run_experiment


def tiny_config() -> ExperimentConfig:
    """Reversing two to four words out of six."""
    config = ExperimentConfig()
    data, model, training = config.data, config.model, config.training
    data.source, data.task = "synthetic", "reverse"
    data.source_language = data.target_language = "xx"
    data.source_tokenizer = data.target_tokenizer = "words"
    data.symbols, data.min_length, data.max_length = 6, 2, 4
    data.num_pairs, data.num_dev, data.num_test, data.num_buckets = 800, 20, 40, 1
    model.cell, model.embedding_size = "gru", 16
    model.encoder_size, model.decoder_size = 24, 48
    training.steps, training.batch_size, training.learning_rate = 160, 32, 1e-2
    training.warmup_steps, training.log_every = 10, 80
    training.eval_every = training.checkpoint_every = 80
    config.decoding.batch_size = 8
    return config


def tiny_run(tmp_path_factory) -> pathlib.Path:
    """The directory of a run of `tiny_config`, trained by the first test that asks."""
    workdir = tmp_path_factory.getbasetemp() / "tiny_run"
    if not workdir.exists():
        run_experiment(tiny_config(), workdir)
    return workdir
