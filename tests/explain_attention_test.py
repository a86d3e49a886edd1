"""`explain_attention` says what `attention` does, and computes nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import attention_jax as aj
from attention_jax import masks
from attention_jax.attention import kernels
from attention_jax.kernels import cost_model
from tests.attention_cases import arrays

FLOAT32 = 4


def shaped(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def test_products_loops_and_elements_are_counted():
    def function(x, w):
        def step(carry, _):
            return jnp.tanh(carry @ w), None

        return jax.lax.scan(step, x, length=3)[0] + 1

    jaxpr = jax.make_jaxpr(function)(jnp.ones((2, 5)), jnp.ones((5, 5))).jaxpr
    assert cost_model.count_flops(jaxpr, None) == 3 * (2 * 2 * 5 * 5 + 10) + 10
    # What depends on w alone: nothing before the first product.
    assert cost_model.count_flops(jaxpr, set()) == 0


def test_a_small_call_is_the_reference_and_a_large_one_chunked():
    small = aj.explain_attention(shaped(2, 8, 4), shaped(2, 16, 4), shaped(2, 16, 3))
    assert small.implementation == "reference"
    assert small.reason.startswith("all 16 queries at once would go through an array")
    assert small.argument_bytes == FLOAT32 * (2 * 8 * 4 + 2 * 16 * 7 + 8 + 16)
    assert small.output_bytes == FLOAT32 * 2 * 8 * 3
    assert small.intermediate_bytes == FLOAT32 * 2 * 8 * 16
    assert (small.blocks, small.queries_per_block) == (1, 16)
    printed = str(small).splitlines()
    assert printed[1] == "FLOPs           5.2 k, forward, masked keys counted"
    assert printed[4:] == [
        "intermediates   at most 1.0 KiB each",
        "blocks          1 of 16 queries",
    ]
    products = 2 * 2 * 8 * 16 * (4 + 3)
    assert products < small.flops < 1.9 * products

    # 16,384² scores are 1 GiB; nothing here allocates them.
    long = shaped(16_384, 64)
    large = aj.explain_attention(long, long, long, mask=masks.causal())
    assert large.implementation == "chunked" and "1,024.0 MiB, above" in large.reason
    assert large.intermediate_bytes <= 16 * 2**20
    assert large.blocks * large.queries_per_block >= 16_384
    assert "chunked: all 16,384 queries" in str(large)
    # At least two products of 2 · 16,384² · 64 each.
    assert large.flops > 2 * 2 * 16_384**2 * 64


@pytest.mark.parametrize("score", ["dot", "additive", "location"])
def test_it_names_what_is_run(score, monkeypatch):
    # Two shapes that nothing else has: what was traced before is not traced again.
    for limit, T in ((0, 17), (2**40, 19)):
        case = arrays(score, T=T, S=23)
        given = {"score": score, "params": case.params, "mask": case.mask}
        monkeypatch.setattr(cost_model, "REFERENCE_BYTES", limit)
        ran = []
        for name, kernel in list(kernels.entries.items()):
            monkeypatch.setitem(
                kernels.entries,
                name,
                lambda *a, ran=ran, name=name, kernel=kernel: (
                    ran.append(name) or kernel(*a)
                ),
            )
        aj.attention(*case[:3], **given)
        explained = aj.explain_attention(*case[:3], **given)
        assert (
            ran[0] == explained.implementation == ("reference" if limit else "chunked")
        )
        monkeypatch.undo()


def test_what_was_asked_for_and_an_alignment_layer():
    explained = aj.explain_attention(
        shaped(3, 10, 4),
        *(shaped(3, 20, 4),) * 2,
        implementation="chunked",
        chunk_size=4,
        return_weights=True,
    )
    assert explained.reason == "asked for"
    assert (explained.blocks, explained.queries_per_block) == (9, 4)
    assert explained.output_bytes == FLOAT32 * 3 * 10 * (4 + 20)

    params = aj.init_score_params(
        jax.random.key(0), "additive", query_size=8, key_size=8, alignment_size=32
    )
    given = {"params": params, "score": "additive"}
    explained = aj.explain_attention(*(shaped(9, 8),) * 3, **given)
    assert explained.intermediate_bytes == FLOAT32 * 9 * 9 * 32
    keys = aj.prepare_keys("additive", np.ones((9, 8), np.float32), params)
    prepared = aj.explain_attention(shaped(9, 8), keys, shaped(9, 8), **given)
    assert prepared.flops == explained.flops - 2 * 9 * 8 * 32


def test_why_masked_keys_are_computed_is_noted():
    def note(**given):
        given = {"implementation": "chunked", "mask": masks.window(3, 0)} | given
        return aj.explain_attention(*(shaped(9, 8),) * 3, **given).note

    assert note() == note(score=lambda q, k: k @ q, mask=None) == ""
    assert note(score=lambda q, k: k @ q, implementation="reference") == ""
    assert "the score '<lambda>' is not declared" in note(score=lambda q, k: k @ q)
    own = note(normalizer=lambda e, where=None: jax.nn.softmax(e, where=where))
    assert "the normalizer '<lambda>' is not declared" in own
    assert "dropout" in note(dropout_rate=0.5, dropout_rng=jax.random.key(0))


def test_errors_are_those_of_attention():
    with pytest.raises(LookupError, match="unknown score 'dott'"):
        aj.explain_attention(*(shaped(9, 8),) * 3, score="dott")
    with pytest.raises(TypeError, match=r"keys must be .*, not the tuple \(9, 8\)"):
        aj.explain_attention(shaped(9, 8), (9, 8), (9, 8))


def test_heads_after_positions_are_noted():
    """[B, T, N, H] would attend over heads: four axes say so where sizes suggest it."""
    swapped = [shaped(2, 128, 8, 16)] * 3
    note = aj.explain_attention(*swapped).note
    assert "128 heads of 8 queries" in note and "dot_product_attention" in note
    assert str(aj.explain_attention(*swapped)).endswith(note)
    for query, keys in (
        (shaped(2, 8, 128, 16), shaped(2, 8, 128, 16)),
        (shaped(2, 8, 1, 16), shaped(2, 8, 100, 16)),  # a decoding step
        (shaped(128, 8, 16), shaped(128, 8, 16)),
    ):
        explained = aj.explain_attention(query, keys, keys)
        assert explained.note == "" and "note" not in str(explained)
    with pytest.raises(ValueError, match=r"leading axes .*\(2, 9\).*dot_product_att"):
        aj.attention(np.ones((2, 9, 8, 16)), *(np.ones((2, 7, 8, 16)),) * 2)
    four = (np.ones((2, 3, 8, 16)),) * 3
    with pytest.raises(ValueError, match=r"= \[2, 3\], .*\(2,\); for all heads"):
        aj.attention(*four, mask=masks.padding([8, 7]))
