"""Translation quality: BLEU, chrF, TER and exact match, by sacrebleu."""

import dataclasses
import operator
import re
from collections.abc import Sequence
from typing import Any

_CHINESE = {"zh", "zho", "chi", "cmn", "yue"}
_JAPANESE = {"ja", "jpn"}
# Written without spaces between words, which would make a sentence one word.
_UNSPACED = _JAPANESE | {
    *("th", "tha", "lo", "lao", "km", "khm", "my", "mya", "bur"),
    *("bo", "bod", "tib", "dz", "dzo"),
}


@dataclasses.dataclass(frozen=True)
class Metric:
    """One score of a set of translations, 0 to 100 (TER may exceed that).

    `signature` is how it was measured, in full: scores compare only under equal ones.
    """

    name: str
    score: float
    signature: str
    higher_is_better: bool = True

    @property
    def title(self) -> str:
        """The name, with an arrow where lower is better."""
        return self.name if self.higher_is_better else f"{self.name} ↓"


def translation_quality(
    hypotheses: Sequence[str],
    references: Sequence[str],
    *,
    language: str,
    lowercase: bool = False,
) -> tuple[Metric, ...]:
    """BLEU, chrF2, exact match and TER; arguments and errors are those of `bleu`.

    chrF2 is sacrebleu's F-score of character n-grams, n ≤ 6, recall × 2.

    TER is edits / reference words in %, lower is better. An edit inserts, deletes or replaces
    a word, or moves a run of words. Words are what white space separates; Chinese and
    Japanese are normalised and cut into characters (`norm:yes`, `asian:yes`).

    Popović, 2015, aclanthology.org/W15-3049; Snover et al., 2006,
    aclanthology.org/2006.amta-papers.25.
    """
    metrics = sacrebleu_metrics(language=language, lowercase=lowercase).values()
    bleu, chrf, ter = (_score(metric, hypotheses, references) for metric in metrics)
    return bleu, chrf, exact_match(hypotheses, references, lowercase=lowercase), ter


def sacrebleu_metrics(*, language: str, lowercase: bool = False) -> dict[str, Any]:
    """sacrebleu's BLEU, chrF2 and TER by name, set up as the functions here say."""
    from sacrebleu.metrics import BLEU, CHRF, TER

    tongue = re.split("[-_]", language.lower())[0]
    tokenize = "zh" if tongue in _CHINESE else "char" if tongue in _UNSPACED else "13a"
    asian = tongue in _CHINESE | _JAPANESE
    return {
        # `force` only silences a warning about text that looks tokenised.
        "BLEU": BLEU(tokenize=tokenize, lowercase=lowercase, force=True),
        "chrF2": CHRF(lowercase=lowercase),
        # asian_support does nothing without normalized.
        "TER": TER(normalized=asian, asian_support=asian, case_sensitive=not lowercase),
    }


def bleu(
    hypotheses: Sequence[str],
    references: Sequence[str],
    *,
    language: str,
    lowercase: bool = False,
) -> Metric:
    """Corpus BLEU-4 of sacrebleu: geometric mean of n-gram precisions × brevity penalty.

    Chinese is cut into characters (tokenizer `zh`), and so are other languages without
    spaces between words, such as Japanese and Thai (`char`); anything else into words and
    punctuation (`13a`): plain detokenised text goes in on both sides.

    Args:
      hypotheses, references: as many of one as of the other; at least one.
      language: of the references, e.g. "en" or "zh_Hant".
      lowercase: ignore case.

    Raises:
      ValueError: unequally many, or none.

    Papineni et al., 2002, aclanthology.org/P02-1040; Post, 2018, aclanthology.org/W18-6319.
    """
    metric = sacrebleu_metrics(language=language, lowercase=lowercase)["BLEU"]
    return _score(metric, hypotheses, references)


def sentence_chrf(
    hypotheses: Sequence[str], references: Sequence[str], *, lowercase: bool = False
) -> list[float]:
    """chrF2 of each sentence by itself, 0 to 100: to rank them, not to average."""
    # The language says nothing to chrF.
    metric = sacrebleu_metrics(language="", lowercase=lowercase)["chrF2"]
    return [
        min(float(metric.sentence_score(hypothesis, [reference]).score), 100.0)
        for hypothesis, reference in zip(hypotheses, references, strict=True)
    ]


def exact_match(
    hypotheses: Sequence[str], references: Sequence[str], *, lowercase: bool = False
) -> Metric:
    """The percentage of translations equal to their reference, but for white space."""
    check_texts(hypotheses, references)

    def plain(text: str) -> str:
        return " ".join((text.lower() if lowercase else text).split())

    matches = sum(map(operator.eq, map(plain, hypotheses), map(plain, references)))
    signature = f"nrefs:1|case:{'lc' if lowercase else 'mixed'}|whitespace:collapsed"
    return Metric("exact match", 100.0 * matches / len(references), signature)


def _score(metric: Any, hypotheses: Sequence[str], references: Sequence[str]) -> Metric:
    check_texts(hypotheses, references)
    found = metric.corpus_score(list(hypotheses), [list(references)])
    error_rate = found.name == "TER"
    # Rounding leaves perfect BLEU and chrF a little above 100.
    score = float(found.score) if error_rate else min(float(found.score), 100.0)
    return Metric(found.name, score, str(metric.get_signature()), not error_rate)


def check_texts(hypotheses: Sequence[str], references: Sequence[str]) -> None:
    """Raises ValueError unless there is one reference a hypothesis, and at least one."""
    if isinstance(hypotheses, str) or isinstance(references, str):
        raise TypeError("hypotheses and references are sequences of sentences")
    if len(hypotheses) != len(references) or not hypotheses:
        raise ValueError(
            f"hypotheses and references must be equally many and at least 1, got "
            f"{len(hypotheses)} and {len(references)}"
        )
