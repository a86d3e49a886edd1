import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_jax.config import DataConfig
from attention_jax.data import (
    BOS,
    EOS,
    PAD,
    SPECIAL_TOKENS,
    UNK,
    Pair,
    Vocabulary,
    build_codec,
    build_codecs,
    build_vocabulary,
    load_codecs,
    save_codecs,
    tokenizer_names,
)

TEXTS = ["The cat sat, at 3:07 PM.", "A dog's day: $12.50!", "二月三日 in Wien"]


def test_order_is_frequency_then_characters():
    vocabulary = build_vocabulary([["b", "a", "c"], ["c", "c", "b"], ["a"]])
    assert vocabulary.tokens == (*SPECIAL_TOKENS, "c", "a", "b")


def test_rare_tokens_and_those_beyond_the_size_are_unknown():
    lists = [["a"] * 3 + ["b"] * 2 + ["c"]]
    assert build_vocabulary(lists, min_frequency=2).tokens[4:] == ("a", "b")
    assert build_vocabulary(lists, max_size=1).tokens[4:] == ("a",)
    assert build_vocabulary(lists, max_size=1).encode(["a", "b"]) == [4, UNK]


def test_a_word_spelt_like_a_special_token_is_unknown():
    vocabulary = build_vocabulary([["<eos>", "x", "<pad>"]])
    assert vocabulary.encode(["<eos>", "<pad>", "x"]) == [UNK, UNK, 4]


@given(st.lists(st.lists(st.text(max_size=3)), max_size=5))
@settings(deadline=None)
def test_decode_undoes_encode(lists):
    vocabulary = build_vocabulary(lists)
    for tokens in lists:
        known = [token for token in tokens if token not in SPECIAL_TOKENS]
        assert vocabulary.decode(vocabulary.encode(known)) == known
    assert (
        Vocabulary.from_dict(json.loads(json.dumps(vocabulary.to_dict()))) == vocabulary
    )


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (("a",), "must begin with"),
        ((*SPECIAL_TOKENS, "a", "a"), "'a' occurs twice"),
    ],
)
def test_a_malformed_vocabulary_is_refused(tokens, message):
    with pytest.raises(ValueError, match=message):
        Vocabulary(tokens)


@pytest.mark.parametrize("number", [-1, 5])
def test_ids_outside_the_vocabulary_are_refused(number):
    with pytest.raises(ValueError, match=rf"in \[0, 5\).*got {number}"):
        build_vocabulary([["a"]]).decode([number])


@pytest.mark.parametrize("tokenizer", tokenizer_names())
def test_codec_decode_undoes_encode(tokenizer):
    codec = build_codec(tokenizer, TEXTS, subwords=80)
    for text in TEXTS:
        ids = codec.encode(text)
        assert UNK not in ids
        assert codec.decode(ids) == text
        assert codec.decode([BOS, *ids, EOS, PAD, 4]) == text


def test_unknown_words_show():
    codec = build_codec("words", TEXTS)
    assert codec.decode(codec.encode("The zebra sat.")) == "The <unk> sat."


def test_lower_case_keeps_offsets_even_where_it_would_grow():
    codec = build_codec("words", ["İstanbul ABC"], lowercase=True)
    text = "İstanbul ABC"
    assert [text[t.start : t.end] for t in codec.tokens(text)] == ["İstanbul", "ABC"]
    assert codec.tokens(text)[1].text == "abc"
    assert UNK not in codec.encode("İSTANBUL aBC")


def test_codecs_are_read_back_equal(tmp_path):
    config = DataConfig(source_tokenizer="subwords", subwords=80, lowercase=True)
    pairs = [Pair(text, text) for text in TEXTS]
    source, target = build_codecs(config, pairs)
    path = tmp_path / "codecs.json"
    save_codecs(path, source, target)
    read_source, read_target = load_codecs(path)
    assert read_source.to_dict() == source.to_dict()
    assert read_target.to_dict() == target.to_dict()
    assert read_source.encode(TEXTS[1]) == source.encode(TEXTS[1])
    assert [entry.name for entry in tmp_path.iterdir()] == ["codecs.json"]


@pytest.mark.parametrize("text", ["", "{}", '{"format": 99}', '{"format": 1}', "[]"])
def test_a_file_of_something_else_is_refused(tmp_path, text):
    path = tmp_path / "codecs.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"codecs\.json"):
        load_codecs(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda side: side["vocabulary"]["tokens"].append(None),
            "token .* must be a string",
        ),
        (lambda side: side.update(lowercase="x"), "lowercase must be true or false"),
        (
            lambda side: side.update(tokenizer={"name": "subwords", "model": {}}),
            "does not hold codecs",
        ),
        (lambda side: side.pop("tokenizer"), "it has no 'tokenizer'"),
    ],
)
def test_a_codec_of_other_contents(change, message, tmp_path):
    path = tmp_path / "codecs.json"
    codec = build_codec("words", TEXTS)
    save_codecs(path, codec, codec)
    state = json.loads(path.read_text("utf-8"))
    change(state["target"])
    path.write_text(json.dumps(state), "utf-8")
    with pytest.raises(ValueError, match=message):
        load_codecs(path)


def test_no_pairs_no_codecs():
    with pytest.raises(ValueError, match="train_pairs is empty"):
        build_codecs(DataConfig(), [])
