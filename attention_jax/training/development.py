"""How good the model is on the dev set while it is being trained."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from attention_jax.data.batches import eval_batches
from attention_jax.training.preparation import Experiment
from attention_jax.training.step import make_eval_step

# Translating takes longer than the loss, and this many sentences show the trend.
NUM_TRANSLATED = 200


class DevQuality(NamedTuple):
    """What one evaluation on the dev set found."""

    loss: float  # cross entropy, nats per token
    accuracy: float  # share of tokens that are the argmax, with teacher forcing
    bleu: float  # 0 to 100, by the run's own search, of the first NUM_TRANSLATED sentences
    exact_match: float  # percentage of those that equal their reference
    translations: tuple[str, ...]  # of those

    def scores(self) -> dict[str, float]:
        """The numbers by name."""
        return {k: v for k, v in self._asdict().items() if k != "translations"}


def make_dev_evaluation(experiment: Experiment) -> Callable[[Any], DevQuality]:
    """`evaluate(params) -> DevQuality` on the experiment's dev set.

    The first call compiles: the loss once, translation once for each width of sentences.
    """
    from attention_jax.evaluation.quality import bleu, exact_match
    from attention_jax.run import Run

    config, model = experiment.config, experiment.model
    codecs = experiment.source_codec, experiment.target_codec
    eval_step = make_eval_step(model)
    batches = eval_batches(experiment.dev, config.decoding.batch_size)
    pairs = experiment.splits.dev[:NUM_TRANSLATED]
    sources = [pair.source for pair in pairs]
    references = [pair.target for pair in pairs]
    language, lowercase = config.data.target_language, config.data.lowercase

    def evaluate(params: Any) -> DevQuality:
        per_batch = [eval_step(params, batch) for batch in batches]

        def total(name: str) -> float:
            return math.fsum(float(getattr(sums, name)) for sums in per_batch)

        found = Run(config, params, model, *codecs).translate(sources)
        measured = bleu(found, references, language=language, lowercase=lowercase)
        matches = exact_match(found, references, lowercase=lowercase)
        return DevQuality(
            loss=total("cross_entropy") / total("tokens"),
            accuracy=total("correct") / total("tokens"),
            bleu=measured.score,
            exact_match=matches.score,
            translations=tuple(found),
        )

    return evaluate


def make_samples(
    experiment: Experiment, quality: DevQuality, step: int
) -> list[dict[str, Any]]:
    """The first `num_samples` dev sentences with their translations."""
    return [
        {
            "event": "sample",
            "step": step,
            "source": pair.source,
            "reference": pair.target,
            "hypothesis": translation,
        }
        for pair, translation, _ in zip(
            experiment.splits.dev,
            quality.translations,
            range(experiment.config.training.num_samples),
        )
    ]
