"""Word alignments: read and written, made from attention, and measured against gold ones."""

import collections
import dataclasses
import os
import re
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from attention_jax.data.codec import TextCodec
from attention_jax.data.pairs import Pair, link_tokens
from attention_jax.data.sources import read_lines
from attention_jax.decoding.translate import Translation
from attention_jax.errors import UserError
from attention_jax.run import Run, SentenceAttention

Link = tuple[int, int]
TokenPair = tuple[list[str], list[str]]

# Nine digits are enough for any token's index.
_LINK = re.compile(r"(\d{1,9})([-?])(\d{1,9})")


class Alignment(NamedTuple):
    """The links of one sentence pair, (source token, target token) counted from 0.

    Attributes:
      sure: links that must be there, S.
      possible: links that may be there, P; the sure ones among them.
    """

    sure: AbstractSet[Link]
    possible: AbstractSet[Link]


def parse_alignment(line: str) -> Alignment:
    """The alignment on a line in Pharaoh format, `0-0 1-2 1?3`: `?` is a possible link.

    Raises:
      UserError: something on the line is not a link.
    """
    sure, possible = set(), set()
    for text in line.split():
        found = _LINK.fullmatch(text)
        if not found:
            raise UserError(
                f"{text!r} is not a link: expected source-target, from 0, as in 0-0, or "
                "source?target for a possible one"
            )
        link = int(found[1]), int(found[3])
        possible.add(link)
        if found[2] == "-":
            sure.add(link)
    return Alignment(sure, possible)


def format_alignment(links: Iterable[Link]) -> str:
    """The line of sure links that `parse_alignment` reads, in order: `0-0 1-2`."""
    return " ".join(f"{s}-{t}" for s, t in sorted(links))


def read_alignments(
    path: str | os.PathLike[str], *, field: str = "path"
) -> list[Alignment]:
    """The alignments of a file, one sentence pair a line; `field` is what named it.

    Raises:
      UserError: it cannot be read, or a line is not an alignment; names the line.
    """
    alignments = []
    for number, line in enumerate(read_lines(os.fspath(path), field=field), 1):
        try:
            alignments.append(parse_alignment(line))
        except UserError as error:
            raise UserError(f"{path}, line {number}: {error}") from error
    return alignments


def attention_links(weights: Float[np.ndarray, "T S"]) -> set[Link]:
    """Each target token with its argmax source token: (s, t), from 0.

        {(argmax_s a_t(s), t)  for every t}

    Ties go to the first; a token whose step attended to nothing has no link.

    Raises:
      ValueError: a weight is NaN.
    """
    rows = np.asarray(weights)
    if np.isnan(rows).any():
        raise ValueError(f"weights must not be NaN, got {int(np.isnan(rows).sum())}")
    return {
        (int(row.argmax()), t)
        for t, row in enumerate(rows)
        if row.size and row.max() > 0
    }


@dataclasses.dataclass(frozen=True)
class AlignmentErrorRate:
    """|A|, |S|, |A ∩ S| and |A ∩ P| over a corpus of `pairs`, and the rates."""

    pairs: int
    found: int
    sure: int
    found_sure: int
    found_possible: int

    @property
    def precision(self) -> float | None:
        """|A ∩ P| / |A|; None if nothing was found."""
        return self.found_possible / self.found if self.found else None

    @property
    def recall(self) -> float | None:
        """|A ∩ S| / |S|; None if nothing is sure."""
        return self.found_sure / self.sure if self.sure else None

    @property
    def error_rate(self) -> float | None:
        """1 - (|A ∩ S| + |A ∩ P|) / (|A| + |S|), 0 at best; None without any links."""
        total = self.found + self.sure
        return 1 - (self.found_sure + self.found_possible) / total if total else None

    @property
    def rates(self) -> dict[str, float | None]:
        """The three rates by name."""
        return {n: getattr(self, n) for n in ("error_rate", "precision", "recall")}


def alignment_error_rate(
    pairs: Iterable[tuple[AbstractSet[Link], Alignment]],
) -> AlignmentErrorRate:
    """The AER of a corpus: for each sentence pair the links found and the gold alignment.

    Links are counted over the corpus, so that long sentences count for more. A sure link
    is a possible one too.

    Och & Ney, 2003, aclanthology.org/J03-1002.
    """
    counts = np.zeros(5, int)
    for found, gold in pairs:
        hits = len(found & gold.sure), len(found & (gold.possible | gold.sure))
        counts += [1, len(found), len(gold.sure), *hits]
    return AlignmentErrorRate(*counts.tolist())


def gold_links(run: Run, pair: Pair) -> set[Link]:
    """The links that the pair's data know, between the tokens that the run cuts it into."""
    return link_tokens(
        pair, run.source_codec.tokens(pair.source), run.target_codec.tokens(pair.target)
    )


def gold_alignment(run: Run, pair: Pair) -> Alignment:
    """The pair's links: those between two tokens without another link are sure.

    Of pieces of several tokens it is not known which tokens correspond: these are possible.
    """
    links = gold_links(run, pair)
    of_source = collections.Counter(source for source, _ in links)
    of_target = collections.Counter(target for _, target in links)
    sure = {(s, t) for s, t in links if of_source[s] == 1 == of_target[t]}
    return Alignment(sure, links)


def tokens_of(
    codecs: tuple[TextCodec, TextCodec], pairs: Iterable[Pair]
) -> list[TokenPair]:
    """The texts of the tokens that the source's and the target's codec cut pairs into."""
    source, target = codecs
    return [
        (
            [token.text for token in source.tokens(pair.source)],
            [token.text for token in target.tokens(pair.target)],
        )
        for pair in pairs
    ]


def check_gold(tokens: Sequence[TokenPair], gold: Sequence[Alignment]) -> None:
    """Raises UserError unless there is an alignment a pair, and every link is within it."""
    if len(gold) != len(tokens):
        raise UserError(f"gold must be {len(tokens)}, one a pair, got {len(gold)}")
    for number, (pair, known) in enumerate(zip(tokens, gold, strict=True), 1):
        source, target = map(len, pair)
        for s, t in sorted(known.sure | known.possible):
            if s >= source or t >= target:
                raise UserError(
                    f"line {number}: the link {s}-{t} is outside the pair's {source} "
                    f"source and {target} target tokens, counted from 0"
                )


def reference_alignment(
    run: Run, pairs: Sequence[Pair], gold: Sequence[Alignment]
) -> AlignmentErrorRate:
    """AER of attention's links while the pairs' targets are forced on the decoder.

    All pairs count, translated well or not, since the tokens are given.
    """
    return alignment_error_rate(
        (attention_links(found.weights), known)
        for found, known in zip(run.force(pairs), gold, strict=True)
    )


def alignment_accuracy(
    sentences: Iterable[tuple[SentenceAttention | Translation, AbstractSet[Link]]],
) -> dict[str, Any]:
    """How often argmax_s a_t(s) is linked to t, over target tokens that have links.

    Meant for exactly translated sentences: after a wrong token no source token is right. A
    token of which all weights are 0 is a miss; where several source tokens tie, all must
    be linked. So neither absent nor uniform attention scores by the order of the tokens.

    Returns:
      JSON values: `phrases`, the number of sentences; `all_words` and, since a number is
      often found by its own look, `words_without_digits`. Each of these has `hits` of
      `words`, their `share`, and `chance`, the share expected of attention to one source
      token drawn at random.
    """
    number, rows = 0, []
    for number, (sentence, links) in enumerate(sentences, 1):
        for t, row in enumerate(np.asarray(sentence.weights)):
            linked = {s for s, target in links if target == t}
            if linked:
                highest = np.flatnonzero(row == row.max())
                hit = bool(row.max() > 0 and {*highest.tolist()} <= linked)
                digit = any(map(str.isdigit, sentence.target_tokens[t]))
                rows.append((hit, len(linked) / len(row), digit))

    def accuracy(chosen: list[tuple[bool, float, bool]]) -> dict[str, Any]:
        hits, words = sum(hit for hit, _, _ in chosen), len(chosen)
        chance = sum(chance for _, chance, _ in chosen) / max(words, 1)
        share = hits / words if words else None
        return {"hits": hits, "words": words, "chance": chance, "share": share}

    return {
        "phrases": number,
        "all_words": accuracy(rows),
        "words_without_digits": accuracy([row for row in rows if not row[2]]),
    }
