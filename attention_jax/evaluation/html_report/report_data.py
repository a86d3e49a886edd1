"""Everything that a report shows, as plain values: what the page is given as JSON."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Score:
    """A figure of the whole split: its name, its value as text, how it was measured."""

    name: str
    value: str
    signature: str


@dataclasses.dataclass(frozen=True)
class Curve:
    """A line of the learning curves: `y` measured after `x` steps."""

    title: str
    x: list[float]
    y: list[float | None]


@dataclasses.dataclass(frozen=True)
class LengthRow:
    """BLEU of the sentences of some source lengths, and its 95 % interval."""

    name: str
    sentences: int
    bleu: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Statistic:
    """A mean over sentences, None where it is not defined, and what it means."""

    name: str
    value: float | None
    meaning: str


@dataclasses.dataclass(frozen=True)
class AttentionMap:
    """A sentence's weights [T, S], a byte each: low + (high - low) × byte / 255.

    Attributes:
      source, target: the S and T words.
      low, high: what the bytes 0 and 255 stand for.
      weights: base64 of T × S bytes, row by row.
    """

    source: list[str]
    target: list[str]
    low: float
    high: float
    weights: str


@dataclasses.dataclass(frozen=True)
class Sentence:
    """One sentence of the split.

    Attributes:
      number: its place in the split, from 1.
      source, reference, translation: texts.
      chrf: sentence chrF2, 0 to 100.
      length: source words.
      confidence: p(translation, end | source) to the power 1 / (words + 1).
      entropy: of attention, in nats, mean over target words; None without attention.
      map: None where there is none or it was left out.
    """

    number: int
    source: str
    reference: str
    translation: str
    chrf: float
    length: int
    confidence: float
    entropy: float | None
    map: AttentionMap | None


@dataclasses.dataclass(frozen=True)
class ReportData:
    """A whole report. Every list may be empty: the page says what is missing.

    Attributes:
      name: the run's.
      facts: (name, value) of the line under the name.
      notes: sentences about what is missing or left out.
      length_unit: what `lengths` count, e.g. "characters".
      maps_note: why sentences have no map; "" if all have.
      config, environment: (name, value) rows.
    """

    name: str
    facts: list[tuple[str, str]]
    notes: list[str]
    scores: list[Score]
    curves: list[Curve]
    length_unit: str
    lengths: list[LengthRow]
    sentences: list[Sentence]
    maps_note: str
    statistics: list[Statistic]
    config: list[tuple[str, str]]
    environment: list[tuple[str, str]]

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON values."""
        return dataclasses.asdict(self)
