"""The same configuration gives the same pairs, splits, ids, batches and links as ever.

Stored runs and published figures rest on it. A hash may only change together with a line
in the CHANGELOG that says which runs can then no longer be resumed or repeated.
"""

import hashlib

import pytest

from attention_jax.config import DataConfig
from attention_jax.data import build_codecs, load_splits
from attention_jax.data.batches import TrainBatches, encode_pairs
from attention_jax.data.pairs import link_tokens
from attention_jax.data.splits import split_hash

SMALL = {"num_pairs": 1_200, "num_dev": 50, "num_test": 60}


JAPANESE = {"source_language": "de", "target_language": "ja", "lowercase": True}
SUBWORDS = {"source_tokenizer": "subwords", "target_tokenizer": "characters"}
WORDS = {"source_tokenizer": "words", "task": "lexicon", "seed": 3}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "03dfa13467af1948"),
        (JAPANESE | SUBWORDS | {"subwords": 500}, "c9f9def0c16ac722"),
        (WORDS | {"source": "synthetic"}, "426814c5ceea4dec"),
    ],
)
def test_data_are_the_same_as_ever(fields, expected):
    config = DataConfig(**SMALL | fields)
    splits = load_splits(config)
    source, target = build_codecs(config, splits.train)
    batches = TrainBatches(
        encode_pairs(splits.train, source, target), batch_size=32, seed=1
    )
    digest = hashlib.sha256(split_hash(splits).encode())
    for pair in splits.train[:200]:
        tokens = source.tokens(pair.source), target.tokens(pair.target)
        digest.update(repr(sorted(link_tokens(pair, *tokens))).encode())
    for step in range(batches.steps_per_epoch + 5):
        for array in batches.at(step):
            digest.update(repr((array.shape, array.tolist())).encode())
    assert digest.hexdigest()[:16] == expected
