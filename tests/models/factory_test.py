"""Building a model from a configuration."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.config import ModelConfig
from attention_jax.errors import UnknownNameError
from attention_jax.models.factory import build_model
from tests.models.cases import config


def test_parameters_of_the_default_model_are_a_plain_dict_of_float32():
    """Bi-LSTM 2 x 256, LSTM 512, dot product, `after`, linear; 300 and 400 words."""
    model = build_model(ModelConfig(), 300, 400)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    for path, leaf in jax.tree_util.tree_leaves_with_path(shapes):
        assert all(isinstance(key, jax.tree_util.DictKey) for key in path)
        assert leaf.dtype == jnp.float32
    embeddings = 300 * 256 + 400 * 256
    encoder = 2 * ((256 + 256) * 4 * 256 + 4 * 256)
    bridge = 2 * (512 * 512 + 512)
    decoder = (256 + 512) * 4 * 512 + 4 * 512
    projection = 1024 * 400 + 400
    count = sum(x.size for x in jax.tree.leaves(shapes))
    assert count == embeddings + encoder + bridge + decoder + projection == 3_740_048


def test_equal_configurations_give_one_model():
    model = build_model(config(), 13, 11)
    assert build_model(config(), 13, 11) is model
    assert hash(model) == hash(build_model(config(), 13, 11))
    assert build_model(config(dropout=0.1), 13, 11) != model
    assert build_model(config(), 13, 12) != model
    by_reference = config(score="attention_jax.scores:additive")
    assert build_model(by_reference, 13, 11) is model


def test_changing_the_configuration_later_changes_nothing():
    settings = config()
    model = build_model(settings, 13, 11)
    settings.decoder_size = 9
    params = jax.eval_shape(model.init, jax.random.key(0))
    assert params["decoder"]["layers"]["layer_0"]["w_hidden"].shape == (4, 16)


def test_initialisation_is_a_function_of_the_key():
    model = build_model(config(), 13, 11)
    init = jax.jit(model.init)
    one, again, other = (init(jax.random.key(seed)) for seed in (0, 0, 1))
    for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(x, y)
    table = one["encoder"]["embedding"]
    assert np.abs(table - other["encoder"]["embedding"]).max() > 0
    assert np.abs(table[:11] - one["decoder"]["embedding"]).max() > 0


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        ("attention", "attention wiring"),
        ("cell", "cell"),
        ("readout", "readout"),
        ("score", "score"),
        ("normalizer", "normalizer"),
    ],
)
def test_unknown_names(field, kind):
    settings = config(**{"attention": "none", field: "nonsuch"})
    with pytest.raises(UnknownNameError, match=f"unknown {kind} 'nonsuch'"):
        build_model(settings, 13, 11)


@pytest.mark.parametrize(
    "score", ["dot", "scaled_dot", "cosine", "euclidean", "local_gaussian"]
)
def test_a_score_of_equal_widths_says_which_sizes_disagree(score):
    fits = {"decoder_size": 6, "alignment_size": 0, "score": score}
    build_model(config(**fits), 13, 11)
    build_model(config(**{**fits, "decoder_size": 3}, bidirectional=False), 13, 11)
    build_model(config(**{**fits, "decoder_size": 5}, attention="none"), 13, 11)
    sizes = ".* model.decoder_size=5, .*2 x model.encoder_size=3 = 6"
    with pytest.raises(ValueError, match=f"model.score={score}{sizes}") as raised:
        build_model(config(**{**fits, "decoder_size": 5}), 13, 11)
    assert "\n" not in str(raised.value)


RAISING = """
import jax.numpy as jnp

def broken(query, keys):
    raise RuntimeError("boom\\nand more")

def mistaken(query, keys):
    return jnp.zeros(3) + jnp.zeros(4)

def branching(query, keys):
    return keys @ query if keys.sum() > 0 else -keys @ query

def too_many(query, keys):
    return keys

def picky(query, keys):
    if query.shape[-1] != keys.shape[-1]:
        raise ValueError("widths differ")
    return keys @ query

def normalizer(scores, where):
    return scores / undefined
"""


@pytest.mark.parametrize(
    ("field", "function", "size", "message"),
    [
        ("score", "broken", 4, "raised RuntimeError in line 5 of mine.py: boom .que"),
        ("score", "mistaken", 4, "raised TypeError in line 8 of mine.py: add got inco"),
        ("score", "branching", 6, "raised TracerBoolConversionError in line 11 of min"),
        ("score", "too_many", 4, ": the score 'too_many' must return one score per ke"),
        (
            "score",
            "picky",
            4,
            "raised ValueError in line 18 .* 2 x model.encoder_size=3",
        ),
        ("normalizer", "normalizer", 4, "raised NameError in line 22 of mine.py: name"),
    ],
)
def test_a_users_function_that_raises_is_told_with_its_line(
    tmp_path, monkeypatch, field, function, size, message
):
    (tmp_path / "mine.py").write_text(RAISING)
    monkeypatch.chdir(tmp_path)
    sizes = {"score": "bilinear", "decoder_size": size, "alignment_size": 0}
    settings = config(**{**sizes, field: f"mine.py:{function}"})
    message = rf"^model\.{field}=mine\.py:{function}:? ?{message}"
    with pytest.raises(ValueError, match=message) as raised:
        build_model(settings, 13, 11)
    assert "\n" not in str(raised.value)


def test_what_cannot_be_tied():
    fits = {"tied_embeddings": True, "readout": "tanh", "readout_size": 5}
    build_model(config(**fits), 13, 11)
    for change in ({"readout": "linear"}, {"readout_size": 0}, {"readout_size": 6}):
        with pytest.raises(ValueError, match="model.tied_embeddings needs"):
            build_model(config(**{**fits, **change}), 13, 11)
