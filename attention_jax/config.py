"""The experiment configuration: what a config file returns and a flag overrides.

What a field is for and which values it may have stand beside it. Names of registered
functions are checked by the package that registers them.
"""

import dataclasses
import math
from typing import Any, NamedTuple

from attention_jax.errors import UserError, unknown_name

# Upper limits from here on are technical ones, far above any use: an error about a number
# that is too small does not mention them.
_TECHNICAL = 2**20


class Range(NamedTuple):
    """The numbers a field may have, `low` left out if `above`, `high` if `below`."""

    low: float
    high: float = math.inf
    above: bool = False
    below: bool = False

    def holds(self, value: float) -> bool:
        above = value > self.low if self.above else value >= self.low
        below = value < self.high if self.below else value <= self.high
        return above and below

    def __str__(self) -> str:
        low = f"{'above' if self.above else 'at least'} {self.low:.10g}"
        if self.high == math.inf:
            return low
        return f"{low} and {'below' if self.below else 'at most'} {self.high:.10g}"


COUNT = Range(0, 2**31 - 1)
POSITIVE = Range(1, 2**31 - 1)
SIZE = Range(1, 2**20)
SIZE_OR_ZERO = Range(0, 2**20)
AMOUNT = Range(0)
PROBABILITY = Range(0, 1, below=True)
SEED = Range(0, 2**32 - 1)


def field(default: Any, help: str, allowed: Range | tuple[str, ...] = ()) -> Any:
    """A dataclass field with its help text, and its range or choices."""
    return dataclasses.field(
        default=default, metadata={"help": help, "allowed": allowed}
    )


@dataclasses.dataclass
class DataConfig:
    """Which pairs, how they are split, and how each side becomes tokens."""

    source: str = field("cldr", "cldr, tatoeba, tsv, text, synthetic or one of yours.")
    source_language: str = field("zh", "Babel locale for cldr; a label elsewhere.")
    target_language: str = field("en", "Babel locale for cldr; a label elsewhere.")
    path: str = field("", "tsv, text (source side): the file; tatoeba: a local copy.")
    target_path: str = field("", "text: the target side's file.")
    source_column: int = field(0, "tsv: zero-based column.", COUNT)
    target_column: int = field(1, "tsv: zero-based column.", COUNT)
    task: str = field(
        "copy",
        "synthetic: copy, reverse, sort or lexicon (set both tokenizers to words).",
    )
    min_length: int = field(3, "synthetic: shortest sentence in tokens.", SIZE)
    max_length: int = field(12, "synthetic: longest sentence in tokens.", SIZE)
    symbols: int = field(50, "synthetic: size of the alphabet.", Range(2, 2**20))
    num_pairs: int = field(
        60_000, "Pairs to generate, or the most kept (0: all).", COUNT
    )
    num_dev: int = field(1_000, "Number of dev pairs.", POSITIVE)
    num_test: int = field(1_000, "Number of test pairs.", COUNT)
    seed: int = field(0, "Seed of generation and of the split; not of training.", SEED)
    num_train: int = field(
        0, "Training pairs kept after the split; 0 keeps all.", COUNT
    )
    lowercase: bool = field(False, "Lowercase both sides.")
    source_tokenizer: str = field("characters", "characters, words or subwords.")
    target_tokenizer: str = field("words", "characters, words or subwords.")
    # Four special tokens and at least one more.
    subwords: int = field(8_000, "subwords: vocabulary of each side.", Range(5, 2**20))
    min_frequency: int = field(1, "Rarer tokens become <unk>.", POSITIVE)
    max_vocabulary: int = field(0, "Most tokens kept, each side; 0 keeps all.", COUNT)
    max_source_length: int = field(0, "Training pairs' most tokens; 0: any.", COUNT)
    max_target_length: int = field(0, "Training pairs' most tokens; 0: any.", COUNT)
    num_buckets: int = field(4, "Most distinct batch shapes.", POSITIVE)


@dataclasses.dataclass
class ModelConfig:
    """The encoder-decoder. The defaults are Luong-style dot attention."""

    attention: str = field(
        "after", "after (s_t attends), input_feeding, before (s_{t-1} attends) or none."
    )
    score: str = field(
        "dot", "A score's name, package.module:function or path/file.py:function."
    )
    normalizer: str = field("softmax", "A normaliser, named like a score.")
    alignment_size: int = field(0, "A of a score; 0 is the key size.", SIZE_OR_ZERO)
    cell: str = field("lstm", "lstm or gru.")
    embedding_size: int = field(256, "Width of both sides' embeddings.", SIZE)
    encoder_size: int = field(256, "Width of the encoder, in each direction.", SIZE)
    encoder_layers: int = field(1, "Number of encoder layers.", SIZE)
    bidirectional: bool = field(True, "Whether the encoder runs in both directions.")
    decoder_size: int = field(512, "Width of the decoder's state.", SIZE)
    decoder_layers: int = field(1, "Number of decoder layers.", SIZE)
    readout: str = field(
        "linear", "W [o_t ; s_t] (linear) or W tanh(W_c [o_t ; s_t]) (tanh)."
    )
    readout_size: int = field(0, "tanh: its width; 0 is decoder_size.", SIZE_OR_ZERO)
    tied_embeddings: bool = field(False, "Tie target embedding and output projection.")
    dropout: float = field(0.0, "Between layers, not on the recurrence.", PROBABILITY)
    attention_dropout: float = field(0.0, "On the attention weights.", PROBABILITY)


@dataclasses.dataclass
class TrainingConfig:
    """The optimiser and how long it runs."""

    batch_size: int = field(64, "Pairs in a batch.", SIZE)
    steps: int = field(2_000, "Number of batches to train on.", POSITIVE)
    max_minutes: float = field(0.0, "Most minutes of training; 0 has no limit.", AMOUNT)
    learning_rate: float = field(2e-3, "Its peak.", Range(0, above=True))
    schedule: str = field("cosine", "constant, cosine or inverse_sqrt, after warm-up.")
    warmup_steps: int = field(100, "Steps of linear warm-up.", COUNT)
    accumulate: int = field(1, "Steps an update, by their mean gradient.", POSITIVE)
    clip_norm: float = field(1.0, "Largest norm of a gradient; 0 has no limit.", AMOUNT)
    weight_decay: float = field(0.0, "AdamW's, of matrices only.", AMOUNT)
    label_smoothing: float = field(0.0, "Probability spread evenly.", PROBABILITY)
    compute_dtype: str = field(
        "float32", "What a step computes in.", ("float32", "bfloat16")
    )
    ema_decay: float = field(0.0, "Of averaged parameters; 0: none.", PROBABILITY)
    data_parallel: bool = field(False, "Spread batches over all processes' devices.")
    log_every: int = field(50, "Steps between lines of metrics.", POSITIVE)
    eval_every: int = field(500, "Steps between evaluations on dev.", POSITIVE)
    checkpoint_every: int = field(500, "Steps between checkpoints.", POSITIVE)
    keep_checkpoints: int = field(3, "Most recent checkpoints kept.", POSITIVE)
    best_by: str = field("loss", "What makes a checkpoint the best.", ("loss", "bleu"))
    early_stopping_patience: int = field(
        0, "End after this many evaluations without a better one; 0 never does.", COUNT
    )
    num_samples: int = field(5, "Dev sentences printed at each evaluation.", COUNT)


@dataclasses.dataclass
class DecodingConfig:
    """How translations are searched for."""

    batch_size: int = field(64, "Sentences translated together.", Range(1, 100_000))
    search: str = field("greedy", "greedy, beam or sample.")
    max_length_ratio: float = field(
        2.0, "Most tokens per source token, plus max_length_offset.", Range(0, 1_000)
    )
    max_length_offset: int = field(10, "See max_length_ratio.", Range(0, 100_000))
    min_length_ratio: float = field(
        0.0, "Fewest tokens per source token, plus min_length_offset.", Range(0, 1_000)
    )
    min_length_offset: int = field(0, "See min_length_ratio.", Range(0, 100_000))
    beam_size: int = field(5, "beam: hypotheses kept at every step.", Range(1, 10_000))
    length_penalty: str = field("none", "beam: divides scores: none, gnmt or plain.")
    length_alpha: float = field(1.0, "beam: the length penalty's power.", Range(0, 10))
    coverage_penalty: str = field(
        "none", "beam: added to scores: none, gnmt or summary."
    )
    coverage_beta: float = field(0.2, "beam: factor of that.", Range(0, 1_000))
    temperature: float = field(1.0, "sample: divides logits.", Range(1e-6, 1e6))
    top_k: int = field(0, "sample: from the k most probable tokens; 0: all.", COUNT)
    top_p: float = field(
        1.0, "sample: from the fewest tokens of this sum.", Range(0, 1, above=True)
    )
    sample_seed: int = field(0, "sample: the seed, beside each line's number.", SEED)
    replace_unknown: bool = field(False, "<unk> becomes the source token attended to.")


@dataclasses.dataclass
class ExperimentConfig:
    """Everything a run depends on besides the code."""

    seed: int = field(0, "Seed of parameters, dropout and batch order.", SEED)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)
    decoding: DecodingConfig = dataclasses.field(default_factory=DecodingConfig)


def check_fields(section: Any, name: str = "config") -> None:
    """Raises a UserError for a wrong attribute, type, range or choice, of any section.

    `name` is what errors call `section`, one of the dataclasses above.
    """
    fields = {one.name: one for one in dataclasses.fields(section)}
    for attribute in vars(section):
        if attribute not in fields:
            known = [f"{name}.{known}" for known in fields]
            raise unknown_name("field", f"{name}.{attribute}", known)
    for one in fields.values():
        value, full = getattr(section, one.name), f"{name}.{one.name}"
        kind: Any = one.type
        # An int is a valid float; a bool is not a valid int.
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise UserError(
                f"{full} must be of type {kind.__name__}, "
                f"got {value!r} of type {type(value).__name__}"
            )
        if dataclasses.is_dataclass(value):
            check_fields(value, full)
            continue
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{full} must be finite, got {value}")
        if isinstance(value, str) and "\0" in value:
            raise UserError(f"{full} must not hold a NUL character, got {value!r}")
        allowed = one.metadata["allowed"]
        if isinstance(allowed, Range):
            if not allowed.holds(value):
                if value <= allowed.high >= _TECHNICAL:
                    allowed = allowed._replace(high=math.inf)
                raise UserError(f"{full} must be {allowed}, got {value}")
        elif allowed and value not in allowed:
            choices = ", ".join(allowed)
            raise UserError(f"{full} must be one of {choices}, got {value!r}")
