"""Digests of arrays and JSON values."""

import jax.numpy as jnp
import numpy as np

from attention_jax.training.provenance import json_digest, tree_digest, tree_shapes

TREE = {"a": {"w": np.arange(6, dtype=np.float32).reshape(2, 3)}, "n": np.int32(3)}


def test_a_digest_depends_on_every_bit_type_shape_and_name_alone():
    flipped = TREE["a"]["w"].copy()
    flipped.view(np.uint8).reshape(-1)[7] ^= 1
    others = [
        {"a": {"w": flipped}, "n": np.int32(3)},
        {"a": {"w": TREE["a"]["w"].reshape(3, 2)}, "n": np.int32(3)},
        {"a": {"w": TREE["a"]["w"].view(np.int32)}, "n": np.int32(3)},
        {"a": {"v": TREE["a"]["w"]}, "n": np.int32(3)},
        {"a": {"w": TREE["a"]["w"]}, "n": np.int32(4)},
    ]
    assert len({tree_digest(tree) for tree in [TREE, *others]}) == 6
    on_device = {"a": {"w": jnp.asarray(TREE["a"]["w"])}, "n": jnp.asarray(3)}
    transposed = {"a": {"w": np.asfortranarray(TREE["a"]["w"])}, "n": np.int32(3)}
    assert tree_digest(on_device) == tree_digest(TREE) == tree_digest(transposed)
    assert tree_shapes(TREE) == {"a/w": "float32[2,3]", "n": "int32[]"}
    assert tree_shapes({"b": jnp.zeros(2, jnp.bfloat16)}) == {"b": "bfloat16[2]"}
    assert json_digest({"a": 1.5, "b": 2}) == json_digest({"b": 2, "a": 1.5})
    assert json_digest({"a": 1.5}) != json_digest({"a": 1.25})
