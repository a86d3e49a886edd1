"""Tokenizers: characters, words and subwords, with offsets and without loss.

For every tokenizer, `detokenize` undoes `tokenize`: the tokens' texts alone give back the
sentence, with single spaces and none at either end.
"""

import json
import re
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

from tokenizers import Tokenizer as Model
from tokenizers import models, pre_tokenizers, trainers

from attention_jax.errors import UserError
from attention_jax.functions.registry import Registry

SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # ▁, as sentencepiece writes a space
JOIN = "\N{HALFWIDTH BLACK SQUARE}"  # ￭: no space here, where one is expected


def lower_case(text: str) -> str:
    """The text in lower case, with every character at its offset."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    # A few characters ("İ") grow in lower case; leaving them keeps every offset.
    return "".join(char.lower() if len(char.lower()) == 1 else char for char in text)


class Token(NamedTuple):
    """A token's text in the vocabulary, and the characters [start, end) it stands for."""

    text: str
    start: int
    end: int


class Tokenizer:
    """Cuts text into tokens and joins tokens into text; this one learns nothing."""

    name: str

    @classmethod
    def train(cls, texts: Sequence[str], *, subwords: int) -> Self:
        """A tokenizer for texts like these; `subwords` where a vocabulary is learnt."""
        return cls()

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Self:
        """The tokenizer whose `to_dict` this is."""
        return cls()

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` needs, as JSON values; "name" is the registered name."""
        return {"name": self.name}

    def tokenize(self, text: str) -> list[Token]:
        """The tokens, in order, with offsets into `text` as it was given."""
        raise NotImplementedError

    def detokenize(self, tokens: Sequence[str]) -> str:
        """The text that these token texts stand for."""
        raise NotImplementedError

    def display(self, token: str) -> str:
        """A token's text for a reader: without marks for spaces."""
        raise NotImplementedError


tokenizers: Registry[type[Tokenizer]] = Registry("tokenizer")


class CharacterTokenizer(Tokenizer):
    """One token for each character; a token "▁" for each run of white space.

    To choose for languages written without spaces. A "▁" of the text becomes "▁▁".
    """

    name = "characters"

    def tokenize(self, text: str) -> list[Token]:
        tokens: list[Token] = []
        for match in re.finditer(r"\S", text):
            position, char = match.start(), match[0]
            if tokens and position > tokens[-1].end:
                tokens.append(Token(SPACE, tokens[-1].end, position))
            spelt = SPACE + SPACE if char == SPACE else char
            tokens.append(Token(spelt, position, position + 1))
        return tokens

    def detokenize(self, tokens: Sequence[str]) -> str:
        text = "".join(" " if t == SPACE else self.display(t) for t in tokens)
        return " ".join(text.split())

    def display(self, token: str) -> str:
        return SPACE if token in (SPACE, SPACE + SPACE) else token


_TIGHT = frozenset("/\\_~、。，；：！？（）《》「」『』【】〈〉·・々〇ー")
_CLOSING = _TIGHT.union(",.;:!?)]}%‰°’”»…›،؛؟।॥")
_OPENING = _TIGHT.union("([{“‘«¿¡‹„#@")
_CURRENCY_OR_SIGN = frozenset("-+−±$£€¥₩₹₽₺₴₫฿₪₱₦₡₲₵₸₼₾")

_TOKENS = re.compile(r"a+(?:['\-]a+)*|[d'\-ip]")
_CLITIC = re.compile(r"['’](?:s|m|t|d|re|ve|ll)$", re.IGNORECASE)

# Scripts written without spaces: a token for each character.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029"
    "\u3040-\u30ff\u3100-\u312f\u31a0-\u31ff\u3400-\u9fff\ua000-\ua4cf\uf900-\ufaff"
    "\uff66-\uff9f\U00016fe0-\U00018dff\U0001b000-\U0001b16f\U00020000-\U0003ffff]"
)


class _Classes(dict):
    """Character -> class, one letter each, for `str.translate`: filled as they come.

    a: letter or combining mark; d: decimal digit; i: character of an unspaced script;
    s: white space; p: anything else; apostrophes and hyphens stand for themselves.
    """

    def __missing__(self, code: int) -> str:
        char = chr(code)
        category = unicodedata.category(char)
        kinds = {
            "s": char.isspace(),
            "'": char in "'’",
            "-": char in "-\N{HYPHEN}",
            "d": category == "Nd",
            "i": _UNSPACED.match(char),
            "a": category[0] in "LM",
            "p": True,
        }
        self[code] = next(kind for kind, holds in kinds.items() if holds)
        return self[code]


_CLASSES = _Classes()


class WordTokenizer(Tokenizer):
    """Words, single digits, punctuation marks.

    A word is a run of letters and combining marks; an apostrophe or hyphen between letters
    stays inside ("o'clock", "Guinea-Bissau"), but the English endings 's, 'm, 't, 'd, 're,
    've and 'll are tokens of their own ("don" "'t"). A digit is a token, and so is a
    character of a script written without spaces (Chinese, Japanese, Thai, ...).

    Whether white space precedes a token is predicted from the tokens before it (see
    `_Spacing`). Only where the text differs does the token carry a mark: "▁" in front for
    an unexpected space, "￭" in front for an unexpected joint. Punctuation between two
    digits joins both: the comma of "12,345" is ",￭". "Tuesday, March 5, 2024" and "$9"
    carry no mark.
    """

    name = "words"

    def tokenize(self, text: str) -> list[Token]:
        classes = text.translate(_CLASSES)
        tokens = []
        spacing = _Spacing()
        end_before = 0
        for start, end in _cut(text, classes):
            core = text[start:end]
            kind = classes[start] if end - start == 1 else "a"
            inside_number = (
                kind in "p'-"
                and classes[start - 1 : start] == "d"
                and classes[end : end + 1] == "d"
            )
            space = bool(tokens) and start > end_before
            mark = ""
            if tokens and space != spacing.expects_space(core, kind):
                mark = SPACE if space else JOIN
            spacing.advance(core, kind, joins_next=inside_number)
            spelt = mark + core + (JOIN if inside_number else "")
            tokens.append(Token(spelt, start, end))
            end_before = end
        return tokens

    def detokenize(self, tokens: Sequence[str]) -> str:
        parts: list[str] = []
        spacing = _Spacing()
        for token in tokens:
            mark, core, joins_next = _parse(token)
            kind = core.translate(_CLASSES) if len(core) == 1 else "a"
            if mark == SPACE or (not mark and spacing.expects_space(core, kind)):
                parts.append(" ")
            parts.append(core)
            spacing.advance(core, kind, joins_next=joins_next)
        return " ".join("".join(parts).split())

    def display(self, token: str) -> str:
        return _parse(token)[1]


def _cut(text: str, classes: str) -> list[tuple[int, int]]:
    """The spans of the tokens, an English ending being one of its own."""
    spans = []
    for match in _TOKENS.finditer(classes):
        start, end = match.span()
        clitic = _CLITIC.search(text, start, end) if "'" in match[0] else None
        if clitic and clitic.start() > start:
            spans.append((start, clitic.start()))
            start = clitic.start()
        spans.append((start, end))
    return spans


def _parse(token: str) -> tuple[str, str, bool]:
    """A token's mark, what it stands for, and whether it joins the next token.

    A one-character token is never a mark: the marks themselves may occur in a text.
    """
    mark = ""
    if len(token) > 1 and token[0] in (SPACE, JOIN):
        mark, token = token[0], token[1:]
    if len(token) > 1 and token[-1] == JOIN:
        return mark, token[:-1], True
    return mark, token, False


class _Spacing:
    """Predicts white space from the tokens so far, alike when cutting and when joining.

    None before closing and after opening punctuation, between digits, before an English
    ending, around characters of unspaced scripts, between a sign or currency and a digit,
    inside a pair of double quotes; elsewhere a space.
    """

    def __init__(self):
        self.before, self.kind, self.joined, self.quoting = "", "", True, False

    def expects_space(self, core: str, kind: str) -> bool:
        before, kind_before = self.before, self.kind
        return not (
            self.joined
            or "i" in (kind, kind_before)
            or core in _CLOSING
            or before in _OPENING
            or (kind == "d" and (kind_before == "d" or before in _CURRENCY_OR_SIGN))
            or (len(core) > 1 and core[0] in "'’")
            or (self.quoting and '"' in (before, core))
        )

    def advance(self, core: str, kind: str, *, joins_next: bool) -> None:
        self.quoting ^= core == '"'
        self.before, self.kind, self.joined = core, kind, joins_next


# The library looks for this token in texts too: one that no squeezed text can contain.
_UNKNOWN = "\n"


class SubwordTokenizer(Tokenizer):
    """Byte-pair encoding (Sennrich et al., 2016) with "▁" at the start of each word.

    At most `subwords` pieces, the alphabet included. A digit, and a character that training
    did not see, is always a piece of its own. A "▁" in a text counts as white space. To
    choose for an open vocabulary of words.
    """

    name = "subwords"

    def __init__(self, model: str):
        self._model = Model.from_str(model)

    @classmethod
    def train(cls, texts: Sequence[str], *, subwords: int) -> Self:
        alphabet = {char for text in texts for char in _squeeze(text)[0]}
        needed = len(alphabet - {" "}) + 2
        if subwords < needed:
            raise UserError(
                f"config.data.subwords must be at least {needed}, the number of distinct "
                f"characters in the training texts and two more; got {subwords}"
            )
        model = Model(models.BPE(unk_token=_UNKNOWN))
        words = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always")
        digits = pre_tokenizers.Digits(individual_digits=True)
        model.pre_tokenizer = pre_tokenizers.Sequence([words, digits])
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
    chars, origin = " ", [0]
    for position, char in enumerate(text):
        char = " " if char.isspace() or char == SPACE else char
        if char != " " or chars[-1] != " ":
            chars += char
            origin.append(position)
    squeezed = chars.strip(" ")
    return squeezed, origin[1 : 1 + len(squeezed)]


for _tokenizer in (CharacterTokenizer, WordTokenizer, SubwordTokenizer):
    tokenizers.register(_tokenizer.name, _tokenizer, function=_tokenizer)
