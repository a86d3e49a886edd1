"""Vocabularies, text as token ids and back, and the file that stores how."""

import collections
import dataclasses
import functools
import itertools
import json
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any, Self

from attention_jax.atomic_write import write_text
from attention_jax.config import DataConfig
from attention_jax.data.pairs import Pair
from attention_jax.data.tokenization import Token, Tokenizer, lower_case, tokenizers
from attention_jax.errors import UserError

_FORMAT = 1
PAD, BOS, EOS, UNK = range(4)
SPECIAL_TOKENS = ("<pad>", "<bos>", "<eos>", "<unk>")


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Tokens, whose ids are their indices; the first four are `SPECIAL_TOKENS`.

    A text's token never becomes PAD, BOS or EOS, even if it is spelt like one.
    """

    tokens: tuple[str, ...]

    def __post_init__(self):
        if self.tokens[: len(SPECIAL_TOKENS)] != SPECIAL_TOKENS:
            raise ValueError(
                f"tokens must begin with {SPECIAL_TOKENS}, got {self.tokens[:4]}"
            )

    @functools.cached_property
    def _ids(self) -> dict[str, int]:
        first = len(SPECIAL_TOKENS)
        return {token: first + i for i, token in enumerate(self.tokens[first:])}

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """Each token's id, UNK for one that is not in the vocabulary."""
        return [self._ids.get(token, UNK) for token in tokens]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Each id's token."""
        return [self.tokens[number] for number in ids]


def build_vocabulary(
    token_lists: Iterable[Sequence[str]], *, min_frequency: int = 1, max_size: int = 0
) -> Vocabulary:
    """The vocabulary of some texts' tokens, the most frequent first, equals in order.

    Tokens that occur less often than `min_frequency` are left out. `max_size` is the most
    tokens besides the four special ones; 0 keeps all.
    """
    counts = collections.Counter(token for tokens in token_lists for token in tokens)
    for special in SPECIAL_TOKENS:
        counts.pop(special, None)
    kept = [token for token, count in counts.items() if count >= min_frequency]
    kept.sort(key=lambda token: (-counts[token], token))
    return Vocabulary(SPECIAL_TOKENS + tuple(kept[: max_size or None]))


@dataclasses.dataclass(frozen=True)
class TextCodec:
    """A tokenizer and its vocabulary: text to ids and back.

    `lowercase` lowers the case before cutting; offsets are the same either way.
    """

    tokenizer: Tokenizer
    vocabulary: Vocabulary
    lowercase: bool = False

    def normalize(self, text: str) -> str:
        """The text as the model sees it, with every character at its offset."""
        return lower_case(text) if self.lowercase else text

    def tokens(self, text: str) -> list[Token]:
        """The tokens, with offsets into `text`."""
        return self.tokenizer.tokenize(self.normalize(text))

    def encode(self, text: str) -> list[int]:
        """The tokens' ids, without BOS and EOS."""
        return self.vocabulary.encode(token.text for token in self.tokens(text))

    def decode(self, ids: Iterable[int]) -> str:
        """The text up to the first EOS; PAD and BOS are dropped, UNK becomes "<unk>"."""
        before = itertools.takewhile(lambda number: number != EOS, map(int, ids))
        kept = (number for number in before if number not in (PAD, BOS))
        return self.tokenizer.detokenize(self.vocabulary.decode(kept))

    def to_dict(self) -> dict[str, Any]:
        return {
            "tokenizer": self.tokenizer.to_dict(),
            "vocabulary": {"tokens": list(self.vocabulary.tokens)},
            "lowercase": self.lowercase,
        }

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Self:
        tokenizer = tokenizers.get(state["tokenizer"]["name"])
        return cls(
            tokenizer.from_dict(state["tokenizer"]),
            Vocabulary(tuple(state["vocabulary"]["tokens"])),
            state["lowercase"],
        )


def build_codec(
    tokenizer: str,
    texts: Sequence[str],
    *,
    subwords: int = 8_000,
    lowercase: bool = False,
    min_frequency: int = 1,
    max_vocabulary: int = 0,
) -> TextCodec:
    """The codec for texts like these: a trained tokenizer and their vocabulary."""
    if lowercase:
        texts = [lower_case(text) for text in texts]
    trained = tokenizers.get(tokenizer).train(texts, subwords=subwords)
    token_lists = ([token.text for token in trained.tokenize(text)] for text in texts)
    vocabulary = build_vocabulary(
        token_lists, min_frequency=min_frequency, max_size=max_vocabulary
    )
    return TextCodec(trained, vocabulary, lowercase)


def build_codecs(
    config: DataConfig, train_pairs: Sequence[Pair]
) -> tuple[TextCodec, TextCodec]:
    """The source and the target codec, from the training pairs alone."""
    if not train_pairs:
        raise UserError("train_pairs is empty: there is no vocabulary to build")
    fields = ("subwords", "lowercase", "min_frequency", "max_vocabulary")
    options = {name: getattr(config, name) for name in fields}
    sources = [pair.source for pair in train_pairs]
    targets = [pair.target for pair in train_pairs]
    return (
        build_codec(config.source_tokenizer, sources, **options),
        build_codec(config.target_tokenizer, targets, **options),
    )


def save_codecs(
    path: str | os.PathLike[str], source: TextCodec, target: TextCodec
) -> None:
    """Writes both codecs as JSON, atomically; an OSError names the file and the reason."""
    state = {"format": _FORMAT, "source": source.to_dict(), "target": target.to_dict()}
    write_text(pathlib.Path(path), json.dumps(state, ensure_ascii=False))


def load_codecs(path: str | os.PathLike[str]) -> tuple[TextCodec, TextCodec]:
    """The source and target codecs that `save_codecs` wrote."""
    data = pathlib.Path(path).read_bytes()
    try:
        state = json.loads(data)
        if state["format"] != _FORMAT:
            raise ValueError(f"format {state['format']!r}, not {_FORMAT}")
        source, target = (TextCodec.from_dict(state[n]) for n in ("source", "target"))
    except Exception as error:  # the tokenizers library raises nothing narrower
        reason = f"it has no {error}" if isinstance(error, KeyError) else error
        raise UserError(f"{path} does not hold codecs: {reason}") from error
    return source, target
