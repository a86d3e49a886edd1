"""Is each key scored on its own: not by the others, their number or their order."""

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.score_checking.agreement import distance, tolerance
from attention_jax.score_checking.check import (
    Outcome,
    check,
    failed,
    passed,
    skipped,
)
from attention_jax.score_checking.subject import LENGTH, Subject
from attention_jax.types import Array

SHORTER = 4
ORDER = np.array([3, 0, 6, 1, 5, 2, 4])


def replacements(key: Array) -> tuple[tuple[str, Array], ...]:
    """What a key is replaced by, in turn: the last two are what padding may hold."""
    return (
        ("another", key + 1),
        ("zeros", jnp.zeros_like(key)),
        ("NaN", jnp.full_like(key, np.nan)),
    )


@check(
    "prepare",
    "Row i of what prepare returns depends on key i alone.",
    advice="each array that prepare returns has S as its first axis, and a row for each "
    "key made from that key",
    needs=("pure", "shape"),
)
def prepare(subject: Subject) -> Outcome:
    """Replaces a key, and leaves keys away."""
    if subject.score.prepare is None:
        return skipped("declares none")
    point = subject.point()
    rows = subject.prepared(point)
    leaves = jax.tree.leaves(rows)
    shapes = [list(np.shape(leaf)) for leaf in leaves]
    if not leaves or any(not s or s[0] != LENGTH for s in shapes):
        return failed(f"for {LENGTH} keys it returns {shapes or 'no array'}")
    allowed = tolerance(subject.precision)
    for what, row in replacements(point.keys[2]):
        keys = point.keys.at[2].set(row)
        came = subject.prepared(point._replace(keys=keys))
        others = jax.tree.map(lambda leaf: np.delete(leaf, 2, axis=0), (came, rows))
        if distance(*others) > allowed:
            return failed(f"replacing key 2 by {what} changes other keys' rows")
    shorter = subject.prepared(point._replace(keys=point.keys[:SHORTER]))
    first = jax.tree.map(lambda leaf: leaf[:SHORTER], rows)
    if distance(shorter, first) > allowed:
        return failed(f"the rows of the first {SHORTER} keys depend on how many follow")
    return passed(f"{', '.join(map(str, shapes))} for {LENGTH} keys")


@check(
    "own key",
    "The score of a key depends on that key, not on the others, so that what is masked or "
    "padded cannot matter.",
    advice="subtract or divide by nothing that is computed over the keys: making weights "
    "of the scores of all keys is the normaliser's work",
    needs=("shape", "prepare"),
)
def own_key(subject: Subject) -> Outcome:
    """Each key in turn replaced."""
    point = subject.point()
    scores = np.asarray(subject.compiled(point))
    allowed = tolerance(subject.precision)
    for i in range(LENGTH):
        for what, row in replacements(point.keys[i]):
            keys = point.keys.at[i].set(row)
            came = np.asarray(subject.compiled(point._replace(keys=keys)))
            for j in range(LENGTH):
                if j != i and distance(came[j], scores[j]) > allowed:
                    return failed(
                        f"replacing key {i} by {what} changes key {j}'s score from "
                        f"{scores[j]:.4g} to {came[j]:.4g}"
                    )
    return passed("each key replaced by another, by zeros and by NaN")


@check(
    "more keys",
    "Keys that follow change no earlier score: padding changes nothing.",
    advice="do not use the number of keys; with positions=True, key_length is 1 + the last "
    "position that the query may attend to",
    needs=("pure", "own key"),
)
def more_keys(subject: Subject) -> Outcome:
    """The first keys alone."""
    whole = subject.compiled(subject.point())[:SHORTER]
    alone = subject.compiled(subject.point(SHORTER))
    off = distance(whole, alone)
    if off > tolerance(subject.precision):
        return failed(
            f"the first {SHORTER} of {LENGTH} keys score otherwise than alone, by a "
            f"relative {off:.1e}"
        )
    return passed(f"the first {SHORTER} of {LENGTH} keys score as if alone")


@check(
    "key order",
    "Keys in another order, positions with them, give the scores in that order.",
    advice="if the place of a key matters, declare register_score(positions=True) and use "
    "key_positions rather than arange",
    needs=("shape",),
)
def key_order(subject: Subject) -> Outcome:
    """One permutation."""
    point = subject.point()
    permuted = point._replace(keys=point.keys[ORDER], key_positions=jnp.asarray(ORDER))
    expected = subject.compiled(point)[ORDER]
    off = distance(subject.compiled(permuted), expected)
    if off > tolerance(subject.precision):
        return failed(f"the scores of reordered keys are off by a relative {off:.1e}")
    return passed("permuted keys, permuted scores")
