import numpy as np

from attention_jax.evaluation.attention_links import attention_links


def test_each_word_is_linked_to_the_brightest():
    weights = np.array([[0.1, 0.9, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 0.0]])
    assert attention_links(weights) == {(1, 0), (0, 1)}
    assert (
        attention_links(np.zeros((0, 3))) == attention_links(np.zeros((2, 0))) == set()
    )
