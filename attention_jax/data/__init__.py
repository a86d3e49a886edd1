"""Sentence pairs: where they come from, how they become tokens, ids and batches."""

# ruff: noqa: F401 (what is imported here is public, and importing a source registers it)
from attention_jax.config import DataConfig
from attention_jax.data import cldr
from attention_jax.data.codec import TextCodec, build_codecs, load_codecs, save_codecs
from attention_jax.data.pairs import Link, Pair
from attention_jax.data.sources import data_sources, load_splits, register_data_source
from attention_jax.data.splits import Splits, split_by_group
from attention_jax.data.synthetic import synthetic_tasks
from attention_jax.data.tokenization import Token, Tokenizer, tokenizers
from attention_jax.errors import UserError, named


def check_config(config: DataConfig) -> None:
    """Raises a UserError unless every name is registered and the fields agree."""
    for field, registry in (
        ("source", data_sources),
        ("task", synthetic_tasks),
        ("source_tokenizer", tokenizers),
        ("target_tokenizer", tokenizers),
    ):
        with named(f"config.data.{field}"):
            registry.get(getattr(config, field))
    if config.min_length > config.max_length:
        raise UserError(
            f"config.data.min_length must be at most config.data.max_length, "
            f"got {config.min_length} and {config.max_length}"
        )
    needed = {"tsv": ("path",), "text": ("path", "target_path")}
    for field in needed.get(config.source, ()):
        if not getattr(config, field):
            raise UserError(
                f"config.data.{field} must name a file for config.data.source "
                f"{config.source}, got ''"
            )
    if config.source in ("cldr", "synthetic") and config.num_pairs == 0:
        raise UserError(
            f"config.data.num_pairs must be at least 1 for config.data.source "
            f"{config.source}, got 0"
        )
