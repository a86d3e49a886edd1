"""A report's data made by hand: no run, no training."""

import dataclasses

import numpy as np

from attention_jax.evaluation.html_report.attention_maps import attention_map
from attention_jax.evaluation.html_report.report_data import (
    Curve,
    LengthRow,
    ReportData,
    Score,
    Sentence,
    Statistic,
)

# Whatever a sentence holds must be read as text.
HOSTILE = (
    "<script>window.hacked = 1</script>",
    "</script><script>window.hacked = 2</script>",
    '<img src="x" onerror="window.hacked = 3">',
    "<!-- <script> \" ' ` & &lt; \\u003c {{script}} \u2028 \u2029",
    "javascript:window.hacked=4",
    "\u202emirrored \u202e עברית العربية",
    "👩‍👩‍👧‍👦🇨🇳 𠮷",
    "w" * 10_000,
    "一" * 10_000,
)
WEIGHTS = np.array([[0.8, 0.15, 0.05], [0.0, 0.25, 0.75]], np.float32)


def sentence(number, **fields) -> Sentence:
    values = {
        "number": number,
        "source": f"我们 {number}",
        "reference": "we go",
        "translation": "we go",
        "chrf": 10.0 * number,
        "length": 3,
        "confidence": 0.5,
        "entropy": 0.3,
        "map": attention_map(WEIGHTS, ("我", "们", "去"), ("we", "go")),
    }
    return Sentence(**{**values, **fields})


def report(**fields) -> ReportData:
    """A report of three sentences; `fields` replace those of the data."""
    data = ReportData(
        name="tatoeba",
        facts=[("data", "tatoeba, zh → en"), ("split", "test, 3 sentences")],
        notes=[],
        scores=[Score("BLEU", "28.01", "nrefs:1|case:lc|version:2.6.0")],
        curves=[
            Curve("training loss", [1.0, 2.0, 3.0], [4.0, None, 2.0]),
            Curve("dev BLEU", [1.0, 3.0], [10.0, 20.0]),
        ],
        length_unit="characters",
        lengths=[LengthRow("3–7", 2, 30.0, 25.0, 35.0)],
        sentences=[
            sentence(1, chrf=20.0, length=5),
            sentence(2, chrf=90.0, length=3),
            sentence(3, chrf=50.0, length=9, entropy=None, map=None),
        ],
        maps_note="",
        statistics=[Statistic("entropy", 0.5, "spread, in nats")],
        config=[("model.score", "bilinear")],
        environment=[("commit", "0" * 40)],
    )
    return dataclasses.replace(data, **fields)


def hostile_report() -> ReportData:
    """HOSTILE everywhere that a text from data, a config or a path can stand."""
    first = HOSTILE[1] + HOSTILE[2]
    return report(
        name=first,
        facts=[(text, text) for text in HOSTILE],
        notes=list(HOSTILE),
        scores=[Score(text, text, text) for text in HOSTILE],
        maps_note=first,
        length_unit=first,
        lengths=[LengthRow(text, 1, 1.0, 0.0, 2.0) for text in HOSTILE],
        sentences=[
            sentence(
                i,
                source=text,
                reference=text,
                translation=text,
                map=attention_map(WEIGHTS, (text, "b", first), (text, first)),
            )
            for i, text in enumerate(HOSTILE, 1)
        ],
        statistics=[Statistic(text, None, text) for text in HOSTILE],
        config=[(text, text) for text in HOSTILE],
        environment=[(text, text) for text in HOSTILE],
    )


EMPTY = report(scores=[], curves=[], lengths=[], sentences=[], statistics=[], config=[])
