"""Subwords by byte-pair encoding, learnt from the training texts."""

import json
from collections.abc import Sequence
from typing import Any, Self

from attention_jax.data.tokenization import SPACE, Token, tokenizers

# The library looks for this name in texts too: one that no squeezed text can have.
_UNKNOWN = "\n"


class SubwordTokenizer:
    """Byte-pair encoding (Sennrich et al., 2016) with "▁" at the start of each word.

    At most `subwords` pieces, the alphabet included. A digit is always a piece of its
    own. A character that training did not see is a token spelt as itself, so that nothing
    is lost in cutting; what the vocabulary makes of it is the vocabulary's business. A
    "▁" in a text counts as white space. To choose for an open vocabulary of words.
    """

    name = "subwords"

    def __init__(self, model: str):
        from tokenizers import Tokenizer as Model

        self._model = Model.from_str(model)

    @classmethod
    def train(cls, texts: Sequence[str], *, subwords: int) -> Self:
        from tokenizers import Tokenizer as Model
        from tokenizers import models, pre_tokenizers, trainers

        alphabet = {char for text in texts for char in _squeeze(text)[0]}
        needed = len(alphabet - {" "}) + 2
        if subwords < needed:
            raise ValueError(
                f"config.data.subwords must be at least {needed}, the number of distinct "
                f"characters in the training texts and two more; got {subwords}"
            )
        model = Model(models.BPE(unk_token=_UNKNOWN))
        model.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always"),
                pre_tokenizers.Digits(individual_digits=True),
            ]
        )
        trainer = trainers.BpeTrainer(
            vocab_size=subwords, special_tokens=[_UNKNOWN], show_progress=False
        )
        model.train_from_iterator((_squeeze(text)[0] for text in texts), trainer)
        return cls(model.to_str())

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Self:
        return cls(json.dumps(state["model"]))

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "model": json.loads(self._model.to_str())}

    def tokenize(self, text: str) -> list[Token]:
        squeezed, origin = _squeeze(text)
        if not squeezed:
            return []
        encoded = self._model.encode(squeezed, add_special_tokens=False)
        tokens = []
        for piece, (start, end) in zip(encoded.tokens, encoded.offsets, strict=True):
            if piece == _UNKNOWN:
                piece = squeezed[start:end]
            elif piece != SPACE and squeezed[start:end].startswith(" "):
                start += 1
            if piece == SPACE and start == 0:
                end = 0  # the word's mark, put before the first character
            first = origin[start]
            last = origin[end - 1] + 1 if end > start else first
            tokens.append(Token(piece, first, last))
        return tokens

    def detokenize(self, tokens: Sequence[str]) -> str:
        return " ".join("".join(tokens).replace(SPACE, " ").split())

    def display(self, token: str) -> str:
        return token.replace(SPACE, "") or SPACE


def _squeeze(text: str) -> tuple[str, list[int]]:
    """The text with single spaces only, and where each of its characters came from."""
    chars, origin = [], []
    for position, char in enumerate(text):
        space = char.isspace() or char == SPACE
        if space and (not chars or chars[-1] == " "):
            continue
        chars.append(" " if space else char)
        origin.append(position)
    if chars and chars[-1] == " ":
        chars.pop()
        origin.pop()
    return "".join(chars), origin


tokenizers.register("subwords", SubwordTokenizer, function=SubwordTokenizer)
