"""How near translations come to their references: BLEU, chrF, exact match."""

import dataclasses
import re
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Metric:
    """One score of a set of translations.

    Attributes:
      name: what was measured.
      score: from 0 to 100, higher is better.
      signature: how it was measured, in full; scores compare only under equal signatures.
    """

    name: str
    score: float
    signature: str


def bleu(
    hypotheses: Sequence[str],
    references: Sequence[str],
    *,
    language: str,
    lowercase: bool = False,
) -> Metric:
    """Corpus BLEU-4 of sacrebleu: geometric mean of n-gram precisions × brevity penalty.

    Chinese is cut into characters (tokenizer `zh`), anything else into words and
    punctuation (`13a`): plain detokenised text goes in on both sides.

    Args:
      hypotheses, references: as many of one as of the other; at least one.
      language: of the references, e.g. "en" or "zh_Hant".
      lowercase: ignore case.

    Papineni et al., 2002, aclanthology.org/P02-1040; Post, 2018, aclanthology.org/W18-6319.
    """
    from sacrebleu.metrics import BLEU

    _check(hypotheses, references)
    tokenizer = "zh" if _is_chinese(language) else "13a"
    # `force` only silences a warning about text that looks tokenised.
    metric = BLEU(tokenize=tokenizer, lowercase=lowercase, force=True)
    score = metric.corpus_score(list(hypotheses), [list(references)]).score
    return Metric("BLEU", min(float(score), 100.0), str(metric.get_signature()))


def chrf(
    hypotheses: Sequence[str], references: Sequence[str], *, lowercase: bool = False
) -> Metric:
    """Corpus chrF2 of sacrebleu: F-score of character n-grams, n ≤ 6, recall × 2.

    Needs no words, so it compares across segmentations and partly credits inflected forms.

    Popović, 2015, aclanthology.org/W15-3049.
    """
    from sacrebleu.metrics import CHRF

    _check(hypotheses, references)
    metric = CHRF(lowercase=lowercase)
    score = metric.corpus_score(list(hypotheses), [list(references)]).score
    return Metric("chrF2", min(float(score), 100.0), str(metric.get_signature()))


def exact_match(
    hypotheses: Sequence[str], references: Sequence[str], *, lowercase: bool = False
) -> Metric:
    """The percentage of translations equal to their reference, but for white space."""
    _check(hypotheses, references)
    matches = [
        _plain(hypothesis, lowercase) == _plain(reference, lowercase)
        for hypothesis, reference in zip(hypotheses, references, strict=True)
    ]
    case = "lc" if lowercase else "mixed"
    return Metric(
        "exact match",
        100.0 * sum(matches) / len(matches),
        f"nrefs:1|case:{case}|whitespace:collapsed",
    )


def _plain(text: str, lowercase: bool) -> str:
    text = " ".join(text.split())
    return text.lower() if lowercase else text


def _is_chinese(language: str) -> bool:
    return re.split("[-_]", language.lower())[0] in ("zh", "zho", "chi", "cmn", "yue")


def _check(hypotheses: Sequence[str], references: Sequence[str]) -> None:
    for name, texts in (("hypotheses", hypotheses), ("references", references)):
        if isinstance(texts, str):
            raise TypeError(f"{name} must be a sequence of sentences, got one string")
    if len(hypotheses) != len(references):
        raise ValueError(
            f"hypotheses and references must be equally many, got {len(hypotheses)} "
            f"and {len(references)}"
        )
    if not hypotheses:
        raise ValueError("hypotheses is empty: there is nothing to score")
