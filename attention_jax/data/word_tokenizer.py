"""Words, digits and punctuation marks, with white space predicted rather than stored."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, Self

from attention_jax.data.tokenization import SPACE, Token, tokenizers

JOIN = "\N{HALFWIDTH BLACK SQUARE}"  # ￭: no space here, where one is expected

_CLOSING = frozenset(",.;:!?)]}%‰°’”»…、。，；：！？）》」』】〉›،؛؟।॥")
_OPENING = frozenset("([{“‘«¿¡（《「『【〈‹„#@")
_CURRENCY_OR_SIGN = frozenset("-+−±$£€¥₩₹₽₺₴₫฿₪₱₦₡₲₵₸₼₾")
_TIGHT = frozenset("/\\_~、。，；：！？（）《》「」『』【】〈〉·・々〇ー")
_QUOTES = frozenset('"')

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
        if char.isspace():
            found = "s"
        elif char in "'’":
            found = "'"
        elif char in "-\N{HYPHEN}":
            found = "-"
        elif category == "Nd":
            found = "d"
        elif _UNSPACED.match(char):
            found = "i"
        elif category[0] in "LM":
            found = "a"
        else:
            found = "p"
        self[code] = found
        return found


_CLASSES = _Classes()


class WordTokenizer:
    """Words, single digits, punctuation marks.

    Cutting. A word is a run of letters and combining marks; an apostrophe or hyphen
    between letters stays inside ("o'clock", "Guinea-Bissau"), but the English endings 's,
    'm, 't, 'd, 're, 've and 'll are tokens of their own ("don" "'t"). A digit is a token,
    so that numbers of any size are spelt with ten of them. A character of a script
    written without spaces (Chinese, Japanese, Thai, ...) is a token. So is any other
    character that is not white space.

    Spacing. Whether white space precedes a token is predicted from the tokens before it:
    none before closing and after opening punctuation, between digits, before an English
    ending, around characters of unspaced scripts, between a sign or currency and a digit,
    inside a pair of double quotes; elsewhere a space. Only where the text differs does
    the token carry a mark: "▁" in front for an unexpected space, "￭" in front for an
    unexpected joint. A mark between two digits joins both without need of one on the
    digit: the comma of "12,345" is ",￭". "Tuesday, March 5, 2024" and "$9" carry no mark.
    """

    name = "words"

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

    A one-character token is never a mark, whatever the character: the marks themselves
    may occur in a text.
    """
    mark = ""
    if len(token) > 1 and token[0] in (SPACE, JOIN):
        mark, token = token[0], token[1:]
    if len(token) > 1 and token[-1] == JOIN:
        return mark, token[:-1], True
    return mark, token, False


class _Spacing:
    """Predicts white space from the tokens so far, alike when cutting and when joining."""

    def __init__(self):
        self.before = ""
        self.kind = ""
        self.joined = True
        self.open_quotes: set[str] = set()

    def expects_space(self, core: str, kind: str) -> bool:
        before, kind_before = self.before, self.kind
        if self.joined or "i" in (kind, kind_before):
            return False
        if core in _CLOSING or core in _TIGHT or before in _OPENING or before in _TIGHT:
            return False
        if kind == "d" and (kind_before == "d" or before in _CURRENCY_OR_SIGN):
            return False
        if len(core) > 1 and core[0] in "'’":
            return False
        if before in _QUOTES and before in self.open_quotes:
            return False
        return not (core in _QUOTES and core in self.open_quotes)

    def advance(self, core: str, kind: str, *, joins_next: bool) -> None:
        if core in _QUOTES:
            self.open_quotes ^= {core}
        self.before, self.kind, self.joined = core, kind, joins_next


tokenizers.register("words", WordTokenizer, function=WordTokenizer)
