"""Word alignments: read and written, made from attention, and measured against gold ones."""

import collections
import dataclasses
import os
import re
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from attention_jax.data.pairs import Pair, link_tokens
from attention_jax.data.text import read_lines
from attention_jax.decoding.translate import Translation
from attention_jax.errors import UserError
from attention_jax.run import Run, SentenceAttention

Link = tuple[int, int]
TokenPair = tuple[Sequence[str], Sequence[str]]

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


class MisplacedLinkError(UserError):
    """A gold link connects tokens that its pair does not have."""


def parse_alignment(line: str) -> Alignment:
    """The alignment on a line in Pharaoh format, `0-0 1-2 1?3`: `?` is a possible link.

    An empty line has no links.

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
    return Alignment(frozenset(sure), frozenset(possible))


def format_alignment(links: Iterable[Link], possible: Iterable[Link] = ()) -> str:
    """The line that `parse_alignment` reads: sure links in order, then possible ones.

    A link that is sure is not written again as a possible one.
    """
    sure = set(links)
    formatted = [f"{s}-{t}" for s, t in sorted(sure)]
    formatted += [f"{s}?{t}" for s, t in sorted(set(possible) - sure)]
    return " ".join(formatted)


def read_alignments(
    path: str | os.PathLike[str], *, field: str = "path"
) -> list[Alignment]:
    """The alignments of a file, one sentence pair a line.

    Args:
      path: the file, as `data.text.read_lines` reads it.
      field: what named it, for the messages.

    Raises:
      UserError: it cannot be read, is not UTF-8, or a line is not an alignment; names the
        file and the line, or the nearest file.
    """
    alignments = []
    for number, line in enumerate(read_lines(os.fspath(path), field=field), 1):
        try:
            alignments.append(parse_alignment(line))
        except UserError as error:
            raise UserError(f"{path}, line {number}: {error}") from error
    return alignments


def attention_links(
    weights: Float[np.ndarray, "T S"],
    end_weights: Float[np.ndarray, " S"] | None = None,
    *,
    shift: int = 0,
) -> set[Link]:
    """Each target token with its argmax source token: (s, t), from 0.

        {(argmax_s a_{t + shift}(s), t)  for every t}

    Ties go to the first; a token whose step attended to nothing has no link.

    Args:
      weights: row t is the attention that target token t was predicted with.
      end_weights: that of the end of the sentence, which follows the last row.
      shift: 0 takes the step that predicts a token, 1 the step after it, of which the
        token is the input. Chen et al., 2020, aclanthology.org/2020.emnlp-main.42.

    Raises:
      ValueError: shift is neither 0 nor 1, or 1 without end_weights; a weight is NaN.
    """
    if shift not in (0, 1):
        raise ValueError(f"shift must be 0 or 1, got {shift}")
    rows = np.asarray(weights)
    if shift:
        if end_weights is None:
            raise ValueError(
                "shift of 1 needs end_weights, the row after the last token"
            )
        rows = np.concatenate([rows, np.asarray(end_weights)[None]])[1:]
    if np.isnan(rows).any():
        raise ValueError(f"weights must not be NaN, got {int(np.isnan(rows).sum())}")
    return {
        (int(row.argmax()), t)
        for t, row in enumerate(rows)
        if row.size and row.max() > 0
    }


@dataclasses.dataclass(frozen=True)
class AlignmentErrorRate:
    """Counts over a corpus, and the rates that follow from them.

    Attributes:
      pairs: sentence pairs.
      found: links found, |A|.
      sure: sure links, |S|.
      found_sure: |A ∩ S|.
      found_possible: |A ∩ P|.
      found_known: links found of target tokens that have a possible link. The others can
        only be wrong.
    """

    pairs: int
    found: int
    sure: int
    found_sure: int
    found_possible: int
    found_known: int

    @property
    def highest_precision(self) -> float | None:
        """found_known / |A|, the upper bound of `precision`."""
        return self.found_known / self.found if self.found else None

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

    def to_dict(self) -> dict[str, float | int | None]:
        """The counts and the rates."""
        names = ("error_rate", "precision", "recall", "highest_precision")
        rates = {name: getattr(self, name) for name in names}
        return {**dataclasses.asdict(self), **rates}


def alignment_error_rate(
    pairs: Iterable[tuple[AbstractSet[Link], Alignment]],
) -> AlignmentErrorRate:
    """The AER of a corpus: for each sentence pair the links found and the gold alignment.

    Links are counted over the corpus, so that long sentences count for more. A sure link
    is a possible one too.

    Och & Ney, 2003, aclanthology.org/J03-1002.
    """
    counts = np.zeros(6, int)
    for found, gold in pairs:
        possible = gold.possible | gold.sure
        known = {t for _, t in possible}
        counts += [
            1,
            len(found),
            len(gold.sure),
            len(found & gold.sure),
            len(found & possible),
            sum(t in known for _, t in found),
        ]
    return AlignmentErrorRate(*counts.tolist())


def gold_links(run: Run, pair: Pair) -> set[Link]:
    """The links that the pair's data know, between the tokens that the run cuts it into."""
    return link_tokens(
        pair, run.source_codec.tokens(pair.source), run.target_codec.tokens(pair.target)
    )


def gold_alignment(run: Run, pair: Pair) -> Alignment:
    """The pair's links: those between two tokens without another link are sure.

    Where a piece of meaning is several tokens on either side, the pieces are known to
    translate each other, but not which of their tokens do: these links are possible.
    """
    links = gold_links(run, pair)
    of_source = collections.Counter(source for source, _ in links)
    of_target = collections.Counter(target for _, target in links)
    sure = {(s, t) for s, t in links if of_source[s] == 1 == of_target[t]}
    return Alignment(sure=frozenset(sure), possible=frozenset(links))


def tokens_of(run: Run, pair: Pair) -> TokenPair:
    """The texts of the tokens that the run cuts the pair into."""
    return (
        tuple(token.text for token in run.source_codec.tokens(pair.source)),
        tuple(token.text for token in run.target_codec.tokens(pair.target)),
    )


def check_gold(run: Run, pairs: Sequence[Pair], gold: Sequence[Alignment]) -> None:
    """Raises what `reference_alignment` raises unless every link is within its pair."""
    if len(gold) != len(pairs):
        raise ValueError(f"gold must be {len(pairs)}, one a pair, got {len(gold)}")
    for number, (pair, known) in enumerate(zip(pairs, gold, strict=True), 1):
        source, target = map(len, tokens_of(run, pair))
        for s, t in sorted(known.sure | known.possible):
            if s >= source or t >= target:
                raise MisplacedLinkError(
                    f"line {number}: the link {s}-{t} is outside the pair's {source} "
                    f"source and {target} target tokens, counted from 0"
                )


def reference_alignment(
    run: Run, pairs: Sequence[Pair], gold: Sequence[Alignment], *, shift: int = 0
) -> AlignmentErrorRate:
    """AER, precision and recall of attention's links while references are forced.

    Each target token is linked to its argmax source token. All pairs count, translated
    well or not, since the tokens are given.

    Args:
      run: has attention.
      pairs: whose targets are forced on the decoder.
      gold: the alignment of each, between the run's tokens.
      shift: as `attention_links` takes it.

    Raises:
      ValueError: not as many alignments as pairs.
      MisplacedLinkError: a link outside its pair.
    """
    check_gold(run, pairs, gold)
    return alignment_error_rate(
        (attention_links(found.weights, found.end_weights, shift=shift), known)
        for found, known in zip(run.force(pairs), gold, strict=True)
    )


@dataclasses.dataclass(frozen=True)
class ArgmaxAccuracy:
    """How often the argmax source token is a linked one.

    Attributes:
      hits: the target tokens of which it is.
      words: the target tokens that have a link.
      chance: the expected share of hits if each token attended to one source token drawn
        at random.
    """

    hits: int
    words: int
    chance: float

    @property
    def share(self) -> float | None:
        """hits / words, from 0 to 1; None if there are no words."""
        return self.hits / self.words if self.words else None


@dataclasses.dataclass(frozen=True)
class AlignmentAccuracy:
    """The argmax accuracy over exactly translated sentences.

    Attributes:
      phrases: the number of sentences.
      all_words: of every linked target token.
      words_without_digits: of those that hold no digit. A number is often found by its
        own look; a name or unit has to be learnt.
    """

    phrases: int
    all_words: ArgmaxAccuracy
    words_without_digits: ArgmaxAccuracy


def alignment_accuracy(
    sentences: Iterable[tuple[SentenceAttention | Translation, AbstractSet[Link]]],
) -> AlignmentAccuracy:
    """How often argmax_s a_t(s) is linked to t, over target tokens that have links.

    Meant for exactly translated sentences: after a wrong token no source token is right. A
    token of which all weights are 0 is a miss; where several source tokens tie, all must
    be linked. So neither absent nor uniform attention scores by the order of the tokens.

    Args:
      sentences: tokens with their attention, and the gold links between the tokens.

    Raises:
      ValueError: links outside the weights.
    """
    number = 0
    hits, chances, digits = [], [], []
    for number, (sentence, links) in enumerate(sentences, 1):
        weights = np.asarray(sentence.weights)
        linked = np.zeros(weights.shape, bool)
        for s, t in links:
            if not (0 <= t < weights.shape[0] and 0 <= s < weights.shape[1]):
                raise ValueError(
                    f"sentence {number}: link ({s}, {t}) lies outside "
                    f"{weights.shape[1]} source and {weights.shape[0]} target tokens"
                )
            linked[t, s] = True
        for word, row, here in zip(
            sentence.target_tokens, weights, linked, strict=True
        ):
            if here.any():
                hits.append(row.max() > 0 and here[row == row.max()].all())
                chances.append(here.mean())
                digits.append(any(character.isdigit() for character in word))
    without = ~np.array(digits, bool)
    return AlignmentAccuracy(
        number,
        _argmax_accuracy(np.array(hits, bool), np.array(chances)),
        _argmax_accuracy(np.array(hits, bool)[without], np.array(chances)[without]),
    )


def _argmax_accuracy(hits: np.ndarray, chances: np.ndarray) -> ArgmaxAccuracy:
    chance = float(chances.mean()) if chances.size else 0.0
    return ArgmaxAccuracy(int(hits.sum()), len(hits), chance)
