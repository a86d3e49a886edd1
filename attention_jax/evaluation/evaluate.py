"""A run's quality on one split of its data: every figure, and where it comes from."""

import dataclasses
import os
import pathlib
import time
from collections.abc import Sequence
from typing import Any

from absl import logging

from attention_jax.atomic_write import write_text
from attention_jax.config import DecodingConfig
from attention_jax.data.pairs import Pair
from attention_jax.data.sources import load_splits
from attention_jax.decoding.translate import Translation
from attention_jax.errors import UserError
from attention_jax.evaluation import quality
from attention_jax.evaluation.alignment import (
    Alignment,
    AlignmentErrorRate,
    alignment_accuracy,
    check_gold,
    gold_alignment,
    gold_links,
    reference_alignment,
    tokens_of,
)
from attention_jax.evaluation.attention_statistics import (
    AttentionStatistics,
    attention_statistics,
    mean_statistics,
)
from attention_jax.run import Run
from attention_jax.training.loop import DevTranslations, EvaluateParams, Experiment
from attention_jax.training.run_directory import RunDirectory, environment

SPLITS = ("test", "dev", "train")
# Dev sentences that are translated while a run is trained: enough to show the trend.
NUM_TRANSLATED = 200


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The figures of one run on one split, and the translations behind them.

    Attributes:
      metrics: BLEU, chrF2, exact match and TER, with signatures.
      alignment: `alignment_accuracy` of the exactly translated sentences; None for a run
        without attention or pairs without links.
      seconds: of translating, compilation not counted.
      translations, references: of each pair; `decoding` is how they were searched for.
      statistics: of attention in each translation; empty without attention.
      aligned: attention's links in the forced references against gold ones, or None.
    """

    metrics: tuple[quality.Metric, ...]
    alignment: dict[str, Any] | None
    seconds: float
    translations: tuple[Translation, ...]
    references: tuple[str, ...]
    decoding: DecodingConfig
    statistics: tuple[AttentionStatistics, ...] = ()
    aligned: AlignmentErrorRate | None = None

    @property
    def attention(self) -> AttentionStatistics | None:
        """The mean of `statistics`; None without attention."""
        return mean_statistics(self.statistics) if self.statistics else None

    @property
    def hypotheses(self) -> tuple[str, ...]:
        """The text of each translation."""
        return tuple(translation.text for translation in self.translations)

    @property
    def sentences_per_second(self) -> float:
        return len(self.translations) / self.seconds

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON values, without the translations."""
        attention = self.attention
        return {
            "sentences": len(self.translations),
            "metrics": [dataclasses.asdict(metric) for metric in self.metrics],
            "alignment": self.alignment,
            "aligned": self.aligned
            and dataclasses.asdict(self.aligned) | self.aligned.rates,
            "attention": attention and dataclasses.asdict(attention),
            "decoding": dataclasses.asdict(self.decoding),
            "seconds": self.seconds,
            "sentences_per_second": self.sentences_per_second,
        }


def evaluate(
    run: Run,
    pairs: Sequence[Pair],
    *,
    alignments: Sequence[Alignment] | None = None,
) -> Evaluation:
    """The quality of the pairs' translations, searched for as `run.config.decoding` says.

    Where the run lower-cases its text, so do the references and the metrics. `alignments`
    are of each pair, between the run's tokens; by default the pairs' own links, if they have
    any, as `gold_alignment` gives them.

    Raises:
      UserError: the alignments do not fit the pairs.
    """
    if not run.attends:
        alignments = None
    elif alignments is not None:
        codecs = run.source_codec, run.target_codec
        check_gold(tokens_of(codecs, pairs), alignments)
    sources = [pair.source for pair in pairs]
    run.compile(sources)
    started = time.perf_counter()
    translations = run.decode(sources)
    seconds = time.perf_counter() - started
    references = tuple(_reference(run, pair) for pair in pairs)
    metrics = quality.translation_quality(
        [translation.text for translation in translations],
        references,
        language=run.config.data.target_language,
        lowercase=run.config.data.lowercase,
    )
    aligned = alignment = None
    if linked := run.attends and any(pair.links for pair in pairs):
        alignments = alignments or [gold_alignment(run, pair) for pair in pairs]
    if alignments is not None:
        aligned = reference_alignment(run, pairs, alignments)
    if linked:
        alignment = alignment_accuracy(
            (translation, gold_links(run, pair))
            for pair, translation in zip(pairs, translations, strict=True)
            if translation.target_tokens and is_exact(run, pair, translation)
        )
    attentive = translations if run.attends else ()
    return Evaluation(
        metrics,
        alignment,
        seconds,
        tuple(translations),
        references,
        run.config.decoding,
        statistics=tuple(attention_statistics(found.weights) for found in attentive),
        aligned=aligned,
    )


def is_exact(run: Run, pair: Pair, translation: Translation) -> bool:
    """Whether the translation is the pair's target, token by token."""
    return translation.text == _reference(run, pair) and len(
        translation.target_tokens
    ) == len(run.target_codec.tokens(pair.target))


def _reference(run: Run, pair: Pair) -> str:
    """The target as a perfect translation is spelt: case folded, plain white space."""
    return " ".join(run.target_codec.normalize(pair.target).split())


def dev_evaluation(experiment: Experiment) -> EvaluateParams:
    """`params -> DevTranslations`: BLEU and exact match of the first dev sentences."""
    config = experiment.config
    pairs = experiment.splits.dev[:NUM_TRANSLATED]
    sources = [pair.source for pair in pairs]
    references = [pair.target for pair in pairs]
    lowercase, language = config.data.lowercase, config.data.target_language
    codecs = experiment.source_codec, experiment.target_codec

    def evaluate(params: Any) -> DevTranslations:
        found = Run(config, params, experiment.model, *codecs).translate(sources)
        both = found, references
        bleu = quality.bleu(*both, language=language, lowercase=lowercase).score
        exact = quality.exact_match(*both, lowercase=lowercase).score
        return DevTranslations({"bleu": bleu, "exact_match": exact}, found)

    return evaluate


def load_split(
    directory: RunDirectory, split: str, *, max_sentences: int = 0
) -> tuple[Pair, ...]:
    """The pairs of a run's split, its first `max_sentences` (0: all).

    Raises:
      UserError: no such split, or an empty one.
      ChangedRunError: the data are no longer those that the run was trained on.
    """
    if split not in SPLITS:
        raise UserError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    splits = load_splits(directory.load_config().data)
    directory.check_same_data(splits)
    if not _split_hash(directory):
        logging.warning(
            "%s does not say which split the run had: whether it was trained on these "
            "sentences is not known",
            directory.record_path,
        )
    pairs = getattr(splits, split)
    if not pairs:
        raise UserError(f"the {split} split of {directory.path} is empty")
    return pairs[: max_sentences or None]


def load_same_split(
    directories: Sequence[RunDirectory], split: str, *, max_sentences: int = 0
) -> tuple[Pair, ...]:
    """As `load_split`, of runs to compare; UserError unless all have the same sentences."""
    first, *others = directories
    pairs = load_split(first, split, max_sentences=max_sentences)
    texts = [(pair.source, pair.target) for pair in pairs]
    for other in others:
        theirs = load_split(other, split, max_sentences=max_sentences)
        if [(pair.source, pair.target) for pair in theirs] != texts:
            raise UserError(
                f"{first.path} and {other.path} have different {split} sentences "
                f"({len(pairs):,} and {len(theirs):,}; split hashes "
                f"{_split_hash(first)[:12]} and {_split_hash(other)[:12]}): figures on "
                "different sentences do not compare"
            )
    return pairs


def _split_hash(directory: RunDirectory) -> str:
    """Of the data that the run was last given; "" before it has begun."""
    sessions = directory.load_record().get("sessions") or [{}]
    return sessions[-1].get("split_hash", "")


def provenance(
    directory: RunDirectory, run: Run, **asked: str | None
) -> dict[str, Any]:
    """The facts that belong beside any figure: seeds, split hash, model, versions, device.

    `asked`: which split, checkpoint and gold links were asked for.
    """
    config = dataclasses.asdict(run.config)
    # Not all of `data`: no path is named.
    data = ("source", "source_language", "target_language", "seed")
    return {
        **asked,
        "seed": run.config.seed,
        "data": {name: config["data"][name] for name in data},
        "split_hash": _split_hash(directory),
        **{name: config[name] for name in ("model", "training", "decoding")},
        **environment(),
    }


def write_translations(
    path: str | os.PathLike[str],
    pairs: Sequence[Pair],
    evaluations: Sequence[Evaluation],
) -> None:
    """Writes a line a sentence, cells separated by tabs: source, reference, translations.

    References are as they were measured against, case folded where the run folds it. White
    space within a cell becomes one space.
    """
    sources, references = [pair.source for pair in pairs], evaluations[0].references
    columns = [sources, references, *(one.hypotheses for one in evaluations)]
    lines = [
        "\t".join(" ".join(cell.split()) for cell in cells) + "\n"
        for cells in zip(*columns, strict=True)
    ]
    write_text(pathlib.Path(path), "".join(lines))
