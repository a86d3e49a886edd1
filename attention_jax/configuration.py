"""The experiment configuration: what a config file returns and a flag overrides.

Plain mutable dataclasses, so that `--config.model.score=additive` can set any field and a
type checker knows every field. Nothing here computes; `validate` (in
`attention_jax.validation`) says what is wrong with a configuration before work starts.
"""

import dataclasses


@dataclasses.dataclass
class DataConfig:
    """Which pairs, how they are split, and how each side becomes tokens."""

    # A registered source: cldr, tatoeba, tsv, text or synthetic.
    source: str = "cldr"
    # Babel locales for `cldr`; labels elsewhere.
    source_language: str = "zh"
    target_language: str = "en"
    # tatoeba: a local copy (empty: the cached download). tsv: the file. text: source side.
    path: str = ""
    # text: the target side's file.
    target_path: str = ""
    # tsv: zero-based columns.
    source_column: int = 0
    target_column: int = 1
    # synthetic: copy, reverse, sort or lexicon, of made-up words (set both tokenizers to
    # words); lengths in tokens, symbols in the alphabet.
    task: str = "copy"
    min_length: int = 3
    max_length: int = 12
    symbols: int = 50
    # cldr and synthetic: how many pairs to generate. Elsewhere: keep at most so many, 0 all.
    num_pairs: int = 60_000
    num_dev: int = 1_000
    num_test: int = 1_000
    # Seed of generation and of the split; not of training.
    seed: int = 0
    # Keep only the first so many training pairs after the split; 0 keeps all.
    num_train: int = 0
    lowercase: bool = False
    # A registered tokenizer each: characters, words or subwords.
    source_tokenizer: str = "characters"
    target_tokenizer: str = "words"
    # subwords: size of the trained vocabulary, each side.
    subwords: int = 8_000
    # Rarer tokens become <unk>; at most so many tokens are kept, 0 keeps all.
    min_frequency: int = 1
    max_vocabulary: int = 0
    # Longer training pairs are left out (in tokens); 0 keeps all.
    max_source_length: int = 0
    max_target_length: int = 0
    # At most so many distinct batch shapes, chosen to minimise padding.
    num_buckets: int = 4


@dataclasses.dataclass
class ModelConfig:
    """The encoder-decoder. The defaults are the lecture's."""

    # after (s_t attends), input_feeding, before (s_{t-1} attends) or none.
    attention: str = "after"
    # Whatever get_score takes: a name, package.module:function or path/file.py:function.
    score: str = "dot"
    # Whatever get_normalizer takes.
    normalizer: str = "softmax"
    # A of the scores that have one; 0 means the key size.
    alignment_size: int = 0
    # lstm or gru.
    cell: str = "lstm"
    embedding_size: int = 256
    # Each direction's width; a bidirectional encoder's output is twice as wide.
    encoder_size: int = 256
    encoder_layers: int = 1
    bidirectional: bool = True
    decoder_size: int = 512
    decoder_layers: int = 1
    # linear: W [o_t ; s_t].  tanh: W tanh(W_c [o_t ; s_t]), readout_size wide (0: decoder_size).
    readout: str = "linear"
    readout_size: int = 0
    # Share the target embedding with the output projection.
    tied_embeddings: bool = False
    # On embeddings, between layers and on the readout's input; not on the recurrence.
    dropout: float = 0.0
    # On the attention weights.
    attention_dropout: float = 0.0


@dataclasses.dataclass
class TrainingConfig:
    """The optimiser and how long it runs."""

    batch_size: int = 64
    steps: int = 2_000
    # Stop after so many minutes of training even if steps remain; 0 has no limit.
    max_minutes: float = 0.0
    learning_rate: float = 2e-3
    # constant, cosine, inverse_sqrt or plateau; all after `warmup_steps` of linear warm-up.
    schedule: str = "cosine"
    warmup_steps: int = 100
    # plateau: times this factor whenever so many evaluations in a row found nothing better.
    plateau_factor: float = 0.5
    plateau_patience: int = 2
    # Update the parameters every so many steps, with the mean of their gradients.
    accumulate: int = 1
    # Gradients are scaled to at most this global norm; 0 leaves them.
    clip_norm: float = 1.0
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    # What a step computes in: float32 or bfloat16. Parameters and losses stay float32.
    compute_dtype: str = "float32"
    # Moving averages of the parameters, which are then what is evaluated; 0 keeps none.
    ema_decay: float = 0.0
    # Spread each batch over all devices of all processes.
    data_parallel: bool = False
    # Steps between lines of metrics, evaluations on dev, and checkpoints.
    log_every: int = 50
    eval_every: int = 500
    checkpoint_every: int = 500
    keep_checkpoints: int = 3
    # What makes a checkpoint the best: loss or bleu, on dev.
    best_by: str = "loss"
    # End the run after so many evaluations in a row without a better one; 0 never does.
    early_stopping_patience: int = 0
    # Dev sentences translated and printed at each evaluation.
    num_samples: int = 5


@dataclasses.dataclass
class DecodingConfig:
    """How translations are searched for."""

    batch_size: int = 64
    # greedy, beam or sample.
    search: str = "greedy"
    # The longest output: max_length_ratio x source tokens + max_length_offset; EOS is not
    # chosen before min_length_ratio x source tokens + min_length_offset.
    max_length_ratio: float = 2.0
    max_length_offset: int = 10
    min_length_ratio: float = 0.0
    min_length_offset: int = 0
    # beam: how many translations are kept, and what their scores are divided by (none,
    # gnmt or plain, with exponent length_alpha) and what is added (none, gnmt or summary,
    # times coverage_beta).
    beam_size: int = 5
    length_penalty: str = "none"
    length_alpha: float = 1.0
    coverage_penalty: str = "none"
    coverage_beta: float = 0.2
    # sample: logits are divided by the temperature; 0 keeps all words, and so does 1.0.
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    sample_seed: int = 0
    # <unk> becomes the source word that attention points to.
    replace_unknown: bool = False


@dataclasses.dataclass
class ExperimentConfig:
    """Everything a run depends on besides the code."""

    # Of parameters, dropout and batch order.
    seed: int = 0
    # Trace so many steps, begun when the first ones are done, into the run's profile/.
    profile: int = 0
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)
    decoding: DecodingConfig = dataclasses.field(default_factory=DecodingConfig)
