"""How well the model translates the dev set while it is being trained."""

from typing import Any

from attention_jax.evaluation.quality import bleu, exact_match
from attention_jax.run import Run
from attention_jax.training.loop import DevTranslations, EvaluateParams
from attention_jax.training.setup import Experiment

# Translating takes longer than the loss, and this many sentences show the trend.
NUM_TRANSLATED = 200


def dev_evaluation(experiment: Experiment) -> EvaluateParams:
    """`params -> DevTranslations`: BLEU and exact match of the first dev sentences.

    They are translated by the run's own search. The first call compiles, once for each
    width of sentences.
    """
    config = experiment.config
    pairs = experiment.splits.dev[:NUM_TRANSLATED]
    sources = [pair.source for pair in pairs]
    references = [pair.target for pair in pairs]
    language, lowercase = config.data.target_language, config.data.lowercase

    def evaluate(params: Any) -> DevTranslations:
        codecs = experiment.source_codec, experiment.target_codec
        found = Run(config, params, experiment.model, *codecs).translate(sources)
        measured = bleu(found, references, language=language, lowercase=lowercase)
        matches = exact_match(found, references, lowercase=lowercase)
        scores = {"bleu": measured.score, "exact_match": matches.score}
        return DevTranslations(scores, found)

    return evaluate
