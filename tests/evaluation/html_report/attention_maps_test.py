import base64

import numpy as np
import pytest

from attention_jax.decoding.translate import NOTHING
from attention_jax.evaluation.html_report.attention_maps import (
    MOST_CELLS_OF_ONE,
    attention_map,
    embedded_maps,
)


def decoded(found):
    cells = np.frombuffer(base64.b64decode(found.weights), np.uint8)
    values = found.low + (found.high - found.low) * cells / 255
    return values.reshape(len(found.target), len(found.source))


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 0), (-0.5, 0.5), (0, 3)])
def test_a_byte_is_a_weight_to_half_a_step(low, high):
    weights = np.random.default_rng(0).uniform(low, high, (5, 7))
    found = attention_map(weights, "abcdefg", "vwxyz")
    assert found.low <= 0 and found.high >= 1
    step = (found.high - found.low) / 255
    np.testing.assert_allclose(decoded(found), weights, atol=step / 2 + 1e-9)


def translation(target, source):
    return NOTHING._replace(
        source_tokens=("a",) * source,
        target_tokens=("b",) * target,
        weights=np.zeros((target, source), np.float32),
    )


def test_maps_are_embedded_in_order_while_there_is_room():
    sizes = ((2, 3), (4, 4), (0, 3), (2, 2), (1, 3), (1, 2))
    found = list(embedded_maps([translation(*s) for s in sizes], most_cells=12))
    # 6, 16, 0, 4, 3 and 2 cells: the fifth would make 13.
    assert [one is not None for one in found] == [True, False, False, True, False, True]


def test_a_map_too_large_to_be_drawn_is_left_out():
    assert list(embedded_maps([translation(1, MOST_CELLS_OF_ONE + 1)])) == [None]
