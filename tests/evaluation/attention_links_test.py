import numpy as np
import pytest

from attention_jax.evaluation.attention_links import attention_links
from attention_jax.evaluation.pharaoh import parse_alignment

WEIGHTS = np.array([[0.1, 0.9, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 0.0]])


def test_each_word_is_linked_to_the_brightest():
    assert attention_links(WEIGHTS) == {(1, 0), (0, 1)}
    assert (
        attention_links(np.zeros((0, 3))) == attention_links(np.zeros((2, 0))) == set()
    )


def test_the_step_after():
    end = np.array([0.0, 0.0, 1.0])
    assert attention_links(WEIGHTS, end, shift=1) == {(0, 0), (2, 2)}
    assert attention_links(np.zeros((0, 3)), end, shift=1) == set()


def test_arguments_that_do_not_fit():
    with pytest.raises(ValueError, match="shift must be 0 or 1, got 2"):
        attention_links(WEIGHTS, shift=2)
    with pytest.raises(ValueError, match="needs end_weights"):
        attention_links(WEIGHTS, shift=1)
    with pytest.raises(ValueError, match="weights holds 1 that are no numbers"):
        attention_links(np.array([[0.5, np.nan]]))


def test_a_link_of_thousands_of_digits_is_none():
    with pytest.raises(ValueError, match="is no link"):
        parse_alignment("1" * 5_000 + "-0")
