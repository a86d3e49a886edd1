"""What a tokenizer is, the table of them, and the simplest: one token a character.

For every tokenizer, `detokenize` undoes `tokenize`: the tokens' texts alone give back the
sentence, with runs of white space become single spaces and none at either end.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, Self

from attention_jax.functions.registry import Registry

SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # ▁, as sentencepiece writes a space


class Token(NamedTuple):
    """A token's text in the vocabulary, and the characters [start, end) it stands for."""

    text: str
    start: int
    end: int


class Tokenizer(Protocol):
    """Cuts text into tokens and puts it together again."""

    name: str

    @classmethod
    def train(cls, texts: Sequence[str], *, subwords: int) -> Self:
        """A tokenizer for texts like these; `subwords` where a vocabulary is learnt."""
        ...

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Self:
        """The tokenizer whose `to_dict` this is."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` needs, as JSON values; "name" is the registered name."""
        ...

    def tokenize(self, text: str) -> list[Token]:
        """The tokens, in order, with offsets into `text` as it was given."""
        ...

    def detokenize(self, tokens: Sequence[str]) -> str:
        """The text that these token texts spell."""
        ...

    def display(self, token: str) -> str:
        """A token's text as a reader wants to see it: without marks for spaces."""
        ...


tokenizers: Registry[type[Tokenizer]] = Registry("tokenizer")


def tokenizer_names() -> tuple[str, ...]:
    """The names that `make_tokenizer` takes."""
    return tokenizers.names()


def make_tokenizer(name: str, texts: Sequence[str], *, subwords: int) -> Tokenizer:
    """The tokenizer called `name`, trained on `texts` if it is one that is trained.

    Raises:
      UnknownNameError: there is no such tokenizer.
      ValueError: `subwords` is out of range, for a tokenizer that uses it.
    """
    return tokenizers.get(name).train(texts, subwords=subwords)


def tokenizer_from_dict(state: dict[str, Any]) -> Tokenizer:
    """The tokenizer that `to_dict` described."""
    return tokenizers.get(state["name"]).from_dict(state)


class CharacterTokenizer:
    """One token for each character; a token "▁" for each run of white space.

    No token is ever longer than a character, so the vocabulary is closed over any number,
    name and word spelt with known characters. To choose for languages written without
    spaces. A "▁" of the text itself becomes the token "▁▁".
    """

    name = "characters"

    @classmethod
    def train(cls, texts: Sequence[str], *, subwords: int) -> Self:
        del texts, subwords
        return cls()

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Self:
        del state
        return cls()

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name}

    def tokenize(self, text: str) -> list[Token]:
        if SPACE not in text and text.split(maxsplit=1) == [text]:  # nothing to mark
            return [Token(char, i, i + 1) for i, char in enumerate(text)]
        tokens: list[Token] = []
        space = False
        for position, char in enumerate(text):
            if char.isspace():
                space = True
                continue
            if space and tokens:
                tokens.append(Token(SPACE, tokens[-1].end, position))
            space = False
            spelt = SPACE + SPACE if char == SPACE else char
            tokens.append(Token(spelt, position, position + 1))
        return tokens

    def detokenize(self, tokens: Sequence[str]) -> str:
        text = "".join(" " if t == SPACE else self.display(t) for t in tokens)
        return " ".join(text.split())

    def display(self, token: str) -> str:
        return SPACE if token in (SPACE, SPACE + SPACE) else token


tokenizers.register("characters", CharacterTokenizer, function=CharacterTokenizer)
