"""From a configuration to everything a training loop needs, in memory only."""

import pathlib
from typing import Any, NamedTuple

import jax
import optax

from attention_jax.config import ExperimentConfig
from attention_jax.data.batches import Examples, TrainBatches, encode_pairs, keep_short
from attention_jax.data.codec import TextCodec, build_codecs, load_codecs
from attention_jax.data.sources import load_splits
from attention_jax.data.splits import Splits, split_hash
from attention_jax.errors import UserError
from attention_jax.models import Model, build_model
from attention_jax.training.optimizer import make_optimizer


class Experiment(NamedTuple):
    """The data, encoded, and the model and optimiser to be trained on it."""

    config: ExperimentConfig
    splits: Splits
    source_codec: TextCodec
    target_codec: TextCodec
    batches: TrainBatches
    dev: Examples
    model: Model
    optimizer: optax.GradientTransformation


def prepare(
    config: ExperimentConfig, *, codecs_path: pathlib.Path | None = None
) -> Experiment:
    """Loads and encodes the data and builds the model; writes nothing.

    `codecs_path` has the codecs of a run begun before; by default they are built from the
    training pairs.
    """
    splits = load_splits(config.data)
    if codecs_path is None:
        codecs = build_codecs(config.data, splits.train)
    else:
        codecs = load_codecs(codecs_path)
    examples = keep_short(
        encode_pairs(splits.train, *codecs),
        config.data.max_source_length,
        config.data.max_target_length,
    )
    if len(examples) == 0:
        raise UserError(
            "no training pair is left: config.data.max_source_length "
            f"{config.data.max_source_length} and config.data.max_target_length "
            f"{config.data.max_target_length} leave out all {len(splits.train)}"
        )
    if not splits.dev:
        raise UserError("there are no dev pairs: config.data.num_dev is too small")
    batches = TrainBatches(
        examples,
        batch_size=config.training.batch_size,
        seed=config.seed,
        num_buckets=config.data.num_buckets,
    )
    sizes = [len(codec.vocabulary) for codec in codecs]
    return Experiment(
        config,
        splits,
        *codecs,
        batches,
        dev=encode_pairs(splits.dev, *codecs),
        model=build_model(config.model, *sizes),
        optimizer=make_optimizer(config.training),
    )


def describe(experiment: Experiment, params: Any) -> dict[str, Any]:
    """The facts about data and model that belong beside any result."""
    splits, batches = experiment.splits, experiment.batches
    return {
        "seed": experiment.config.seed,
        "split_hash": split_hash(splits),
        "pairs": {n: len(getattr(splits, n)) for n in ("train", "dev", "test")},
        "data": dict(splits.report),
        "source_vocabulary": len(experiment.source_codec.vocabulary),
        "target_vocabulary": len(experiment.target_codec.vocabulary),
        "parameters": sum(array.size for array in jax.tree.leaves(params)),
        "steps_per_epoch": batches.steps_per_epoch,
        "batch_shapes": [list(shape) for shape in batches.shapes],
        "padding_share": batches.padding_share,
    }
