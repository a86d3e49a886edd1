import numpy as np

from attention_jax.data.vocabulary import UNK
from attention_jax.decoding.unknown_words import sources_of_unknown


def test_the_brightest_source_word_stands_in():
    weights = np.array([[0.9, 0.1], [0.2, 0.8], [0.0, 0.0], [0.6, 0.4]])
    assert sources_of_unknown([UNK, UNK, UNK, 7], weights) == {0: 0, 1: 1}
    assert sources_of_unknown([UNK], np.zeros((1, 0))) == {}
    assert sources_of_unknown([], np.zeros((0, 2))) == {}
