"""Planning batches, and from decoded ids to text."""

import numpy as np
import pytest

from attention_jax.config import DecodingConfig, ExperimentConfig
from attention_jax.data.codec import UNK, build_codec
from attention_jax.data.pairs import Pair
from attention_jax.data.tokenization import SPACE
from attention_jax.decoding import translate
from attention_jax.decoding.translate import Translator, plan, sources_of_unknown
from attention_jax.run import load_run
from tests.tiny_run import tiny_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return load_run(tiny_run(tmp_path_factory))


def test_large_arrays_are_of_fewer_sentences(run, monkeypatch):
    words = len(run.target_codec.vocabulary)
    beam = run.with_decoding(search="beam", beam_size=3)
    slots = [slots for _, _, slots, _ in plan(beam, [3, 3, 12], 1)]
    assert slots == [8, 8]
    # Room for the logits of two slots, and the weights of eight words.
    monkeypatch.setattr(
        "attention_jax.decoding.translate._MAX_BATCH", max(2 * 3 * words, 8 * 27 * 3)
    )
    for _, rows, slots, _ in plan(beam, [3, 3, 12], 1):
        assert rows * 8 * 27 * 3 <= max(2 * 3 * words, 8 * 27 * 3) or rows == 1
        assert slots * 3 * words <= max(2 * 3 * words, 8 * 27 * 3) and slots <= rows
    shapes = []
    original = translate.force_decode

    def record(model, params, batch):
        shapes.append(batch.source.shape)
        return original(model, params, batch)

    monkeypatch.setattr(translate, "force_decode", record)
    pairs = [Pair("ba bi", "bi ba")] * 3
    before = run.force(pairs)
    monkeypatch.setattr(
        "attention_jax.decoding.translate._MAX_BATCH", 8 * (8 + words) * 2
    )
    after = run.force(pairs)
    assert [rows for rows, _ in shapes[-2:]] == [2, 2]
    assert [one.text for one in before] == [one.text for one in after]


def test_the_longest_sentence_is_that_whose_weights_fit(run, monkeypatch):
    # T = 2 S + 10 words and EOS, for each of the beam's places.
    monkeypatch.setattr("attention_jax.decoding.translate._MAX_SENTENCE", 32 * 75 * 3)
    beam = run.with_decoding(search="beam", beam_size=3)
    assert (run.longest_sentence(), beam.longest_sentence()) == (32, 32)
    assert run.with_decoding(search="beam", beam_size=4).longest_sentence() == 16
    assert run.with_decoding(max_length_offset=1000).longest_sentence() == 0
    beam.decode(["ba " * 32])
    with pytest.raises(ValueError, match="sentence 1 has 33 tokens, too many"):
        beam.decode(["ba " * 33])


def test_where_subwords_mark_the_beginning_of_a_word_so_does_what_replaces_one():
    codec = build_codec("subwords", ["the fast one runs"] * 9, subwords=40)
    config = ExperimentConfig(decoding=DecodingConfig(replace_unknown=True))
    translator = Translator(config, None, None, codec, codec)
    the, runs = (codec.vocabulary.encode([f"▁{word}"])[0] for word in ("the", "runs"))
    assert UNK not in (the, runs)
    ids, weights = np.array([[the, UNK, runs]]), np.zeros((1, 4, 1), np.float32)
    weights[0, 1] = 1
    arrays = ids, np.array([3]), np.zeros(1), np.zeros(1), weights
    found = translate._translation(translator, ("打",), arrays, (0,))
    assert found.text == "the 打 runs"


def test_what_replaces_an_unknown_word_is_spaced_as_a_word_is():
    """Though between Chinese characters a reader expects no space."""
    codec = build_codec("words", ["the two teams fight."])
    source = build_codec("characters", ["打 硬"])
    translator = Translator(ExperimentConfig(), None, None, source, codec)
    ids = np.array([codec.vocabulary.encode(["the", "?", "?", "teams", "?", "."])])
    weights = np.zeros((1, 7, 3), np.float32)
    weights[0, [1, 2, 4], [0, 2, 1]] = 1
    arrays = ids, np.array([6]), np.zeros(1), np.zeros(1), weights
    shown = ("打", SPACE, "硬")
    plain = translate._translation(translator, shown, arrays, (0,))
    assert plain.text == "the <unk> <unk> teams <unk>."
    translator.config.decoding.replace_unknown = True
    found = translate._translation(translator, shown, arrays, (0,))
    # The last looked at a space, which is no word.
    assert found.text == "the 打 硬 teams <unk>."
    assert found.target_tokens[1:3] == ("打", "硬")


def test_the_argmax_of_attention_stands_in():
    weights = np.array([[0.9, 0.1], [0.2, 0.8], [0.0, 0.0], [0.6, 0.4]])
    assert sources_of_unknown([UNK, UNK, UNK, 7], weights) == {0: 0, 1: 1}
    assert sources_of_unknown([UNK], np.zeros((1, 0))) == {}
    assert sources_of_unknown([], np.zeros((0, 2))) == {}
