import json

import pytest

from attention_jax.config import DataConfig
from attention_jax.data import Pair, build_codecs, load_codecs, save_codecs, tokenizers
from attention_jax.data.codec import (
    BOS,
    EOS,
    PAD,
    SPECIAL_TOKENS,
    UNK,
    Vocabulary,
    build_codec,
    build_vocabulary,
)

TEXTS = ["The cat sat, at 3:07 PM.", "A dog's day: $12.50!", "二月三日 in Wien"]


def test_the_most_frequent_tokens_are_known_in_order():
    assert build_vocabulary(["bac", "ccb", "a"]).tokens == (*SPECIAL_TOKENS, *"cab")
    assert build_vocabulary(["aaabbc"], min_frequency=2).tokens[4:] == ("a", "b")
    assert build_vocabulary(["aaabbc"], max_size=1).encode("ab") == [4, UNK]
    # A word spelt like a special token is unknown.
    vocabulary = build_vocabulary([["<eos>", "x", "<pad>"]])
    assert vocabulary.encode(["<eos>", "<pad>", "x"]) == [UNK, UNK, 4]
    with pytest.raises(ValueError, match="must begin with"):
        Vocabulary(("a",))


@pytest.mark.parametrize("tokenizer", tokenizers.names())
def test_codec_decode_undoes_encode(tokenizer):
    codec = build_codec(tokenizer, TEXTS, subwords=80)
    for text in TEXTS:
        ids = codec.encode(text)
        assert UNK not in ids
        assert codec.decode(ids) == text
        assert codec.decode([BOS, *ids, EOS, PAD, 4]) == text
    if tokenizer == "words":
        unknown = codec.encode("The zebra sat.")
        assert codec.decode(unknown) == "The <unk> sat."


def test_lower_case_keeps_offsets_even_where_it_would_grow():
    codec = build_codec("words", ["İstanbul ABC"], lowercase=True)
    text = "İstanbul ABC"
    assert [text[t.start : t.end] for t in codec.tokens(text)] == ["İstanbul", "ABC"]
    assert codec.tokens(text)[1].text == "abc"
    assert UNK not in codec.encode("İSTANBUL aBC")


def test_codecs_are_read_back_equal(tmp_path):
    config = DataConfig(source_tokenizer="subwords", subwords=80, lowercase=True)
    codecs = build_codecs(config, [Pair(text, text) for text in TEXTS])
    path = tmp_path / "codecs.json"
    save_codecs(path, *codecs)
    for read, built in zip(load_codecs(path), codecs, strict=True):
        assert read.to_dict() == built.to_dict()
        assert read.encode(TEXTS[1]) == built.encode(TEXTS[1])
    assert [entry.name for entry in tmp_path.iterdir()] == ["codecs.json"]
    with pytest.raises(ValueError, match="train_pairs is empty"):
        build_codecs(config, [])


def without_tokenizer():
    codec = build_codec("words", TEXTS).to_dict()
    return json.dumps(
        {"format": 1, "source": codec, "target": {**codec, "tokenizer": {}}}
    )


@pytest.mark.parametrize(
    "text", ["", "{}", '{"format": 99}', '{"format": 1}', "[]", without_tokenizer()]
)
def test_a_file_of_something_else_is_refused(tmp_path, text):
    path = tmp_path / "codecs.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"codecs\.json does not hold codecs: "):
        load_codecs(path)
