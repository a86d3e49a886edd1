"""Translating sentences: text in, text with its tokens, attention and score out."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from attention_jax.config import DecodingConfig, ExperimentConfig
from attention_jax.data.batches import encode_pairs, encode_tokens, eval_batches
from attention_jax.data.codec import UNK, TextCodec
from attention_jax.data.pairs import Pair
from attention_jax.data.tokenization import SPACE
from attention_jax.decoding.autoregressive import force_decode
from attention_jax.decoding.base import Limits, length_limits, make_request
from attention_jax.decoding.searches import searches
from attention_jax.errors import UserError
from attention_jax.models.base import Model

# Elements of a batch's largest arrays, weights [B, N, L, S] and logits: where they would be
# more there are fewer rows, and a sentence that would not fit alone is refused.
_MAX_BATCH = 2**25
_MAX_SENTENCE = 2**28
# A full batch has this many times the sentences that are searched at a time: at its end
# slots stay empty, for one part in this many of its steps.
_FULL = 8
# There are few long sentences, and each takes many steps: full slots of them are rare.
_SHORT = 16


class Translation(NamedTuple):
    """One translated sentence: both sides' tokens and the attention between them.

    Attributes:
      text: detokenised; "" for a blank sentence.
      source_tokens, target_tokens: the S and T tokens, as a reader wants to see them.
      weights: row t is the attention that target token t was predicted with.
      end_weights: the attention that the end of the sentence was predicted with.
      log_prob: log p(tokens, end | source), the natural logarithm.
      score: what the search ranked by: log_prob with its penalties.
    """

    text: str
    source_tokens: tuple[str, ...]
    target_tokens: tuple[str, ...]
    weights: Float[np.ndarray, "T S"]
    end_weights: Float[np.ndarray, " S"]
    log_prob: float
    score: float


# Of a blank sentence, whose only translation is certain.
NOTHING = Translation(
    "", (), (), np.zeros((0, 0), np.float32), np.zeros(0, np.float32), 0.0, 0.0
)


@dataclasses.dataclass(frozen=True, eq=False)
class Translator:
    """A configuration, one checkpoint's parameters, their model and both sides' codecs."""

    config: ExperimentConfig
    params: Any
    model: Model
    source_codec: TextCodec
    target_codec: TextCodec


def decode_sentences(
    translator: Translator, sentences: Sequence[str], n_best: int, first_id: int
) -> Iterator[tuple[int, list[Translation]]]:
    """(index, translations, the best first) of every sentence that has tokens.

    Sentence i draws by the id first_id + i. A UserError names one too long for memory.
    """
    codec, decoding = translator.source_codec, translator.config.decoding
    search = searches.get(decoding.search)
    tokens = [[token.text for token in codec.tokens(text)] for text in sentences]
    lengths = [len(one) for one in tokens]
    searched = None
    for width, rows, slots, indices in plan(translator, lengths, n_best):
        batch = [tokens[index] for index in indices]
        examples = encode_tokens(batch, codec.vocabulary)
        [arrays] = eval_batches(examples, rows, shape=(width, 1))
        ids = np.zeros(rows, np.uint32)
        ids[: len(indices)] = [(first_id + index) % 2**32 for index in indices]
        request = make_request(
            arrays.source,
            arrays.source_lengths,
            # That of the width, so that a shape is compiled for once.
            max_length=_longest(decoding, width),
            limits=_limits(decoding, arrays.source_lengths),
            ids=ids,
            n_best=n_best,
            slots=slots,
        )
        decoded = search.decode(translator.model, translator.params, request, decoding)
        # JAX has returned before it has computed: meanwhile the batch before becomes texts.
        if searched is not None:
            yield from _translations(translator, *searched)
        searched = indices, batch, tuple(map(np.asarray, decoded))
    if searched is not None:
        yield from _translations(translator, *searched)


def plan(
    translator: Translator, lengths: Sequence[int], n_best: int
) -> Iterator[tuple[int, int, int, list[int]]]:
    """Batches as (width, rows, slots, which sentences), the longest sentences first.

    Sentences of up to _SHORT tokens go through `batch_size` slots, longer ones through
    fewer; a batch has room for _FULL times as many. So its shape depends on the width
    alone, not on the number of sentences. A UserError names one too long for memory.
    """
    by_width: dict[int, list[int]] = {}
    # Long translations first: then those that end a batch, in half-empty slots, are short.
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if lengths[index]:
            by_width.setdefault(width_for(lengths[index]), []).append(index)
    for width, indices in by_width.items():
        name = f"sentence {indices[0] + 1} has {lengths[indices[0]]} tokens,"
        logits, weights = _array_sizes(translator, width, n_best)
        slots = translator.config.decoding.batch_size * _SHORT // max(width, _SHORT)
        slots = _rows(logits, max(1, slots), name)
        rows = _rows(weights, _FULL * slots, name)
        for start in range(0, len(indices), rows):
            yield width, rows, min(slots, rows), indices[start : start + rows]


def longest_sentence(translator: Translator, n_best: int) -> int:
    """The most tokens of a sentence whose translations fit into memory; 0: none does."""
    longest, width = 0, width_for(1)
    while max(_array_sizes(translator, width, n_best)) <= _MAX_SENTENCE:
        longest, width = width, 2 * width
    return longest


def force_pairs(
    translator: Translator, pairs: Sequence[Pair]
) -> Iterator[tuple[int, Translation]]:
    """(index, the target as a translation) of every pair whose source has tokens."""
    codecs = translator.source_codec, translator.target_codec
    examples = encode_pairs(pairs, *codecs)
    by_shape: dict[tuple[int, int], list[int]] = {}
    for index, (source, target) in enumerate(examples.lengths):
        if source:
            shape = width_for(int(source)), width_for(int(target))
            by_shape.setdefault(shape, []).append(index)
    for shape, indices in by_shape.items():
        # All steps' logits are there at once.
        area = shape[1] * (shape[0] + len(codecs[1].vocabulary))
        name = f"pair {indices[0] + 1} has tokens,"
        rows = _rows(area, translator.config.decoding.batch_size, name)
        for start in range(0, len(indices), rows):
            chunk = indices[start : start + rows]
            examples = encode_pairs([pairs[i] for i in chunk], *codecs)
            [batch] = eval_batches(examples, rows, shape=shape)
            decoded = force_decode(translator.model, translator.params, batch)
            arrays = tuple(map(np.asarray, decoded))
            for row, index in enumerate(chunk):
                pair = pairs[index]
                source, target = map(_display, codecs, (pair.source, pair.target))
                one = _translation(translator, source, arrays, (row,))
                # The tokens that were given, rather than <unk>.
                yield index, one._replace(target_tokens=target)


def width_for(length: int) -> int:
    """The array width for a sentence: the next power of two, at least 8."""
    return max(8, 1 << (length - 1).bit_length())


def _display(codec: TextCodec, text: str) -> tuple[str, ...]:
    """The text's tokens as a reader wants to see them."""
    return tuple(codec.tokenizer.display(token.text) for token in codec.tokens(text))


def _limits(decoding: DecodingConfig, source_lengths: Any) -> Limits:
    return length_limits(
        source_lengths,
        max_ratio=decoding.max_length_ratio,
        max_offset=decoding.max_length_offset,
        min_ratio=decoding.min_length_ratio,
        min_offset=decoding.min_length_offset,
    )


def _longest(decoding: DecodingConfig, width: int) -> int:
    """The most tokens of the translation of a sentence of this many."""
    return int(np.max(_limits(decoding, width).longest))


def _array_sizes(translator: Translator, width: int, n_best: int) -> tuple[int, int]:
    """A step's logits and the attention weights kept, for one sentence of this width."""
    decoding = translator.config.decoding
    hypotheses = searches.get(decoding.search).most(decoding) or n_best
    logits = hypotheses * len(translator.target_codec.vocabulary)
    return logits, hypotheses * width * (_longest(decoding, width) + 1)


def _rows(area: int, batch_size: int, name: str) -> int:
    """How many sentences with `area` array elements each a batch has."""
    if area > _MAX_SENTENCE:
        raise UserError(f"{name} too many for one sentence")
    return max(1, min(batch_size, _MAX_BATCH // area))


def _translations(
    translator: Translator,
    indices: Sequence[int],
    batch: Sequence[Sequence[str]],
    arrays: tuple[np.ndarray, ...],
) -> Iterator[tuple[int, list[Translation]]]:
    """(index, translations) of each sentence of a batch, from the arrays of a `Decoded`."""
    tokenizer = translator.source_codec.tokenizer
    for row, (index, tokens) in enumerate(zip(indices, batch, strict=True)):
        source = tuple(map(tokenizer.display, tokens))
        found = [
            _translation(translator, source, arrays, (row, n))
            for n, score in enumerate(arrays[3][row])
            if score > -np.inf
        ]
        if not found:
            raise UserError(
                f"no translation of {tokenizer.detokenize(tokens)[:40]!r} has a "
                "probability: the run's parameters are not all finite numbers"
            )
        yield index, found


def _translation(
    translator: Translator,
    source_tokens: tuple[str, ...],
    arrays: tuple[np.ndarray, ...],
    row: tuple[int, ...],
) -> Translation:
    """One row of a batch as a translation, from the arrays of a `Decoded`."""
    tokens, lengths, log_probs, scores, all_weights = arrays
    length = int(lengths[row])
    ids = tokens[row][:length].tolist()
    # A copy, so that what was padded around it can be freed.
    weights = all_weights[row][: length + 1, : len(source_tokens)].copy()
    tokenizer = translator.target_codec.tokenizer
    words = translator.target_codec.vocabulary.decode(ids)
    shown = [tokenizer.display(word) for word in words]
    replaced = {}
    if translator.config.decoding.replace_unknown:
        for t, s in sources_of_unknown(ids, weights[:length]).items():
            spelt = tokenizer.tokenize(source_tokens[s])
            # A space is not a word.
            if source_tokens[s] != SPACE and spelt:
                # Spaced as a word is, whatever its characters; some mark where one begins.
                replaced[t] = f"\ue000{t}\ue000"
                words[t] = SPACE * spelt[0].text.startswith(SPACE) + replaced[t]
                shown[t] = source_tokens[s]
    text = tokenizer.detokenize(words)
    for t, word in replaced.items():
        text = text.replace(word, shown[t])
    sides, attended = (source_tokens, tuple(shown)), (weights[:length], weights[length])
    numbers = float(log_probs[row]), float(scores[row])
    return Translation(text, *sides, *attended, *numbers)


def sources_of_unknown(
    ids: Sequence[int], weights: Float[np.ndarray, "T S"]
) -> dict[int, int]:
    """For each target token that is UNK, the source token it most attended to.

        s(t) = argmax_s a_t(s)   for w_t = UNK

    Names and numbers are often spelt the same on both sides. A token that attended to
    nothing is left out. Luong et al., 2015, aclanthology.org/P15-1002; by attention, Jean
    et al., 2015, aclanthology.org/P15-1001.
    """
    return {
        t: int(row.argmax())
        for t, (token, row) in enumerate(zip(ids, weights, strict=True))
        if token == UNK and row.size and row.max() > 0
    }
