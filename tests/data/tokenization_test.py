import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_jax.data import tokenizers
from attention_jax.data.tokenization import JOIN, SPACE

TEXTS = [
    "Tuesday, March 5, 2024 – 12.5 kilometers",
    "2024年3月5日星期二、$12,345.67和3 千克",
    "I don't know what the other Tom's doing at 10 o'clock.",
] * 3


def build(name):
    return tokenizers.get(name).train(TEXTS, subwords=150)


BUILT = {name: build(name) for name in tokenizers.names()}
STORED = {
    name: tokenizers.get(name).from_dict(built.to_dict())
    for name, built in BUILT.items()
}
every_tokenizer = pytest.mark.parametrize("name", tokenizers.names())

pieces = st.sampled_from(
    [
        *"abZé5٣7 ,.:;'\"()[]$€%-–/&日本ひค\u0301\u200d😀’“”\t\n\u202f\u2028",
        "don't",
        "12",
    ]
    + [SPACE, JOIN, "it's", "1,234.5", "<unk>", "नमस्ते", "월요일"]
)
texts = st.one_of(st.lists(pieces, max_size=20).map("".join), st.text(max_size=20))


def squeeze(text):
    return " ".join(text.split())


@every_tokenizer
@given(text=texts)
@settings(deadline=None, max_examples=150)
def test_detokenize_undoes_tokenize(name, text):
    """And offsets cover everything but white space, in order; stored ones cut alike."""
    if name == "subwords":  # reads "▁" as white space, and says so
        text = text.replace(SPACE, " ")
    tokenizer = BUILT[name]
    tokens = tokenizer.tokenize(text)
    assert tokenizer.detokenize([token.text for token in tokens]) == squeeze(text)
    assert STORED[name].tokenize(text) == tokens
    end = 0
    covered = set()
    for token in tokens:
        assert end <= token.start <= token.end <= len(text)
        end = token.end
        covered.update(range(token.start, token.end))
        surface = squeeze(text[token.start : token.end])
        assert tokenizer.display(token.text) in (surface, SPACE)
    assert {i for i, char in enumerate(text) if not char.isspace()} <= covered


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Tuesday, March 5, 2024", ["Tuesday", ",", "March", "5", ",", *"2024"]),
        ("$12", ["$", "1", "2"]),
        (
            "$1,234.50 at 3:07 PM",
            [*"$1", f",{JOIN}", *"234", f".{JOIN}", *"50", "at", "3", f":{JOIN}"]
            + [*"07", "PM"],
        ),
        ("I don't know Tom's.", ["I", "don", "'t", "know", "Tom", "'s", "."]),
        ("at 10 o'clock", ["at", "1", "0", "o'clock"]),
        ("l'homme, aujourd'hui", ["l'homme", ",", "aujourd'hui"]),
        ('he said, "hi!"', ["he", "said", ",", '"', "hi", "!", '"']),
        ("2024年3月", [*"2024", "年", "3", "月"]),
        ("12 345 €", ["1", "2", f"{SPACE}3", "4", "5", "€"]),
        ("3kg", ["3", f"{JOIN}kg"]),
        ("सोमवार, 월요일", ["सोमवार", ",", "월요일"]),
    ],
)
def test_words_are_cut_and_marked_as_documented(text, expected):
    assert [token.text for token in BUILT["words"].tokenize(text)] == expected


def test_characters_mark_a_space_by_a_token():
    tokens = BUILT["characters"].tokenize(" 12.5  千克 ")
    assert [token.text for token in tokens] == [*"12.5", SPACE, "千", "克"]
    spans = [(token.start, token.end) for token in tokens[3:6]]
    assert spans == [(4, 5), (5, 7), (7, 8)]


def test_words_are_displayed_without_marks_and_unknown_ones_spaced_like_words():
    words = BUILT["words"]
    shown = [words.display(token.text) for token in words.tokenize("x 1,5 z y:w")]
    assert shown == ["x", "1", ",", "5", "z", "y", ":", "w"]
    assert words.detokenize(["a", "<unk>", "b", "."]) == "a <unk> b."


def test_subwords_merge_but_not_digits_and_training_is_deterministic():
    first, second = build("subwords"), build("subwords")
    assert first.to_dict() == second.to_dict() == STORED["subwords"].to_dict()
    assert len(first.tokenize(TEXTS[2])) < len(BUILT["characters"].tokenize(TEXTS[2]))
    tokens = first.tokenize("2024")
    assert [token.text for token in tokens if token.text != SPACE] == [*"2024"]


def test_too_few_subwords_are_an_error_that_says_how_many():
    with pytest.raises(ValueError, match=r"data\.subwords must be at least 4"):
        tokenizers.get("subwords").train(["ab"], subwords=3)
