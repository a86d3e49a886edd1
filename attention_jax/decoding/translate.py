"""From sentences to translations: batches in, words and attention out."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from attention_jax.config import DecodingConfig
from attention_jax.data.batches import encode_pairs, encode_tokens, eval_batches
from attention_jax.data.codec import TextCodec
from attention_jax.data.pairs import Pair
from attention_jax.data.tokenization import SPACE
from attention_jax.decoding.base import Decoded
from attention_jax.decoding.limits import Limits, length_limits
from attention_jax.decoding.scoring import force_decode
from attention_jax.decoding.searches import Request, searches
from attention_jax.decoding.unknown_words import sources_of_unknown
from attention_jax.models.base import Model

# Elements of a batch's largest arrays, weights [B, N, L, S] and logits: where they would be
# more there are fewer rows, and a sentence that would not fit alone is refused.
_MAX_BATCH = 2**25
_MAX_SENTENCE = 2**28
# A full batch has so many times the sentences that are searched at a time: at its end slots
# stay empty, for the time of one translation out of so many.
_FULL = 8
# There are few long sentences, and each takes many steps: full slots of them are rare.
_SHORT = 16


class Translation(NamedTuple):
    """One translated sentence.

    Attributes:
      text: detokenised; "" for a blank sentence.
      source_tokens, target_tokens: the S and T words, as a reader wants to see them.
      weights: row t is the attention that target word t was predicted with.
      end_weights: the attention that the end of the sentence was predicted with.
      log_prob: log p(words, end | source), the natural logarithm.
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


class Translator(NamedTuple):
    """A model, the codecs of its two sides, and how to search."""

    model: Model
    params: Any
    source_codec: TextCodec
    target_codec: TextCodec
    decoding: DecodingConfig


def decode_sentences(
    translator: Translator, sentences: Sequence[str], n_best: int, first_id: int
) -> Iterator[tuple[int, list[Translation]]]:
    """(index, translations, the best first) of every sentence that has words.

    Sentence i draws by the id first_id + i.

    Raises:
      ValueError: a sentence is too long for memory; names it.
    """
    codec = translator.source_codec
    tokens = [[token.text for token in codec.tokens(text)] for text in sentences]
    lengths = [len(words) for words in tokens]
    searched = None
    for width, rows, slots, indices in plan(translator, lengths, n_best):
        batch = _Batch([tokens[index] for index in indices], width, rows, slots, n_best)
        ids = [first_id + index for index in indices]
        decoded = _search_batch(translator, batch, ids)
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
    alone, not on how many there are.

    Raises:
      ValueError: a sentence is too long for memory; names it.
    """
    by_width: dict[int, list[int]] = {}
    # Long translations first: then those that end a batch, in half-empty slots, are short.
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if lengths[index]:
            by_width.setdefault(width_for(lengths[index]), []).append(index)
    decoding = translator.decoding
    logits = _logits(translator, n_best)
    for width, indices in by_width.items():
        name = f"sentence {indices[0] + 1} has {lengths[indices[0]]} tokens,"
        slots = max(1, decoding.batch_size * _SHORT // max(width, _SHORT))
        slots = _rows(logits, slots, name)
        rows = _rows(_weights(decoding, width, n_best), _FULL * slots, name)
        for start in range(0, len(indices), rows):
            yield width, rows, min(slots, rows), indices[start : start + rows]


def longest_sentence(translator: Translator, n_best: int) -> int:
    """The most tokens of a sentence whose translations fit into memory; 0: none does."""
    decoding, width = translator.decoding, width_for(1)
    if _logits(translator, n_best) > _MAX_SENTENCE:
        return 0
    if _weights(decoding, width, n_best) > _MAX_SENTENCE:
        return 0
    while _weights(decoding, 2 * width, n_best) <= _MAX_SENTENCE:
        width *= 2
    return width


def force_pairs(
    translator: Translator, pairs: Sequence[Pair]
) -> Iterator[tuple[int, Translation]]:
    """(index, the target as a translation) of every pair whose source has words.

    Raises:
      ValueError: a pair is too long for memory; names it.
    """
    codecs = translator.source_codec, translator.target_codec
    examples = encode_pairs(pairs, *codecs)
    by_shape: dict[tuple[int, int], list[int]] = {}
    lengths = zip(examples.source_lengths, examples.target_lengths, strict=True)
    for index, (source, target) in enumerate(lengths):
        if source:
            shape = width_for(int(source)), width_for(int(target))
            by_shape.setdefault(shape, []).append(index)
    for shape, indices in by_shape.items():
        name = f"pair {indices[0] + 1} has words"
        # All steps' logits are there at once.
        area = shape[1] * (shape[0] + len(codecs[1].vocabulary))
        rows = _rows(area, translator.decoding.batch_size, name)
        for start in range(0, len(indices), rows):
            chunk = indices[start : start + rows]
            found = _force_batch(translator, [pairs[i] for i in chunk], shape, rows)
            yield from zip(chunk, found, strict=True)


def width_for(length: int) -> int:
    """The array width for a sentence: the next power of two, at least 8."""
    return max(8, 1 << (length - 1).bit_length())


def shown_tokens(codec: TextCodec, text: str) -> tuple[str, ...]:
    """The text's tokens as a reader wants to see them."""
    return tuple(codec.tokenizer.display(token.text) for token in codec.tokens(text))


def _limits(decoding: DecodingConfig, source_lengths: np.ndarray) -> Limits:
    return length_limits(
        source_lengths,
        max_ratio=decoding.max_length_ratio,
        max_offset=decoding.max_length_offset,
        min_ratio=decoding.min_length_ratio,
        min_offset=decoding.min_length_offset,
    )


def _longest(decoding: DecodingConfig, source_length: int) -> int:
    """How many words the translation of a sentence of so many may have."""
    return int(np.max(_limits(decoding, np.array([source_length])).longest))


def _weights(decoding: DecodingConfig, width: int, n_best: int) -> int:
    """How many weights the search for one sentence's translations keeps."""
    places = searches.get(decoding.search).places(decoding, n_best)
    return width * (_longest(decoding, width) + 1) * places


def _logits(translator: Translator, n_best: int) -> int:
    """How many logits a step of the search for one sentence's translations has."""
    decoding = translator.decoding
    places = searches.get(decoding.search).places(decoding, n_best)
    return places * len(translator.target_codec.vocabulary)


def _rows(area: int, batch_size: int, name: str) -> int:
    """How many sentences of so many array elements a batch has."""
    if area > _MAX_SENTENCE:
        raise ValueError(f"{name} too many for one sentence")
    return max(1, min(batch_size, _MAX_BATCH // area))


class _Batch(NamedTuple):
    """Sentences of one shape, as their tokens.

    Attributes:
      tokens: of each sentence. width, rows, slots: as `plan` gives them.
      n_best: translations of each.
    """

    tokens: list[list[str]]
    width: int
    rows: int
    slots: int
    n_best: int


def _search_batch(translator: Translator, batch: _Batch, ids: Sequence[int]) -> Decoded:
    """Starts the search; the arrays are waited for when they are read."""
    examples = encode_tokens(batch.tokens, translator.source_codec.vocabulary)
    [arrays] = eval_batches(examples, batch.rows, shape=(batch.width, 1))
    # Filler rows draw nothing: any id will do.
    all_ids = np.zeros(batch.rows, np.uint32)
    all_ids[: len(ids)] = np.asarray(ids) % 2**32
    decoding = translator.decoding
    request = Request(
        arrays.source,
        arrays.source_lengths,
        all_ids,
        _limits(decoding, arrays.source_lengths),
        # That of the width, so that a shape is compiled for once.
        _longest(decoding, batch.width),
        batch.n_best,
        batch.slots,
    )
    search = searches.get(decoding.search)
    return search.decode(translator.model, translator.params, request, decoding)


def _translations(
    translator: Translator,
    indices: Sequence[int],
    batch: _Batch,
    arrays: tuple[np.ndarray, ...],
) -> Iterator[tuple[int, list[Translation]]]:
    """(index, translations) of each sentence of a batch, from the arrays of a `Decoded`."""
    tokenizer = translator.source_codec.tokenizer
    for row, (index, tokens) in enumerate(zip(indices, batch.tokens, strict=True)):
        source = tuple(map(tokenizer.display, tokens))
        found = [
            _translation(translator, source, arrays, (row, n))
            for n in range(batch.n_best)
        ]
        found = [one for one in found if one.score > -np.inf]
        if not found:
            raise ValueError(
                f"no translation of {tokenizer.detokenize(tokens)[:40]!r} has a "
                "probability: the run's parameters are not all finite numbers"
            )
        yield index, found


def _force_batch(
    translator: Translator, pairs: Sequence[Pair], shape: tuple[int, int], rows: int
) -> list[Translation]:
    codecs = translator.source_codec, translator.target_codec
    [batch] = eval_batches(encode_pairs(pairs, *codecs), rows, shape=shape)
    decoded = force_decode(translator.model, translator.params, batch)
    arrays = tuple(map(np.asarray, decoded))
    found = []
    for row, pair in enumerate(pairs):
        source, target = map(shown_tokens, codecs, (pair.source, pair.target))
        one = _translation(translator, source, arrays, (row,))
        # The words that were given, rather than <unk>.
        found.append(one._replace(target_tokens=target))
    return found


def _translation(
    translator: Translator,
    source_tokens: tuple[str, ...],
    arrays: tuple[np.ndarray, ...],
    place: tuple[int, ...],
) -> Translation:
    """One translation of a batch: of the arrays of a `Decoded`."""
    tokens, lengths, log_probs, scores, all_weights = arrays
    length = int(lengths[place])
    ids = tokens[place][:length].tolist()
    # A copy, so that what was padded around it can be freed.
    weights = all_weights[place][: length + 1, : len(source_tokens)].copy()
    tokenizer = translator.target_codec.tokenizer
    words = translator.target_codec.vocabulary.decode(ids)
    shown = [tokenizer.display(word) for word in words]
    replaced = {}
    if translator.decoding.replace_unknown:
        for t, s in sources_of_unknown(ids, weights[:length]).items():
            spelt = tokenizer.tokenize(source_tokens[s])
            # A space is no word.
            if source_tokens[s] != SPACE and spelt:
                # Spaced as a word is, whatever its characters; some mark where one begins.
                replaced[t] = f"\ue000{t}\ue000"
                words[t] = SPACE * spelt[0].text.startswith(SPACE) + replaced[t]
                shown[t] = source_tokens[s]
    text = tokenizer.detokenize(words)
    for t, word in replaced.items():
        text = text.replace(word, shown[t])
    return Translation(
        text,
        source_tokens,
        tuple(shown),
        weights[:length],
        weights[length],
        float(log_probs[place]),
        float(scores[place]),
    )
