"""The checks of a score: each is a function of a `Subject`, listed in CHECKS in their order."""

import contextlib
import copy
import dataclasses
import functools
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax import errors
from attention_jax.attention import attend, attend_checked
from attention_jax.functions.params import AXES
from attention_jax.functions.score import get_score
from attention_jax.testing.subject import (
    LENGTH,
    LENGTHS,
    MASK,
    ORDER,
    QUERIES,
    SHORTER,
    Subject,
    distance,
    equations,
    quick_jit,
)
from attention_jax.types import Array

PASSED = "passed"
FAILED = "failed"
SKIPPED = "skipped"
NOTED = "noted"

# Random points at one of which no kink, of abs or max, lies within the step.
DRAWS = 3

CONCRETE_ERRORS = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """The result of one check.

    Attributes:
      name: the check's.
      status: "passed"; "failed", a promise is broken; "noted", nothing is broken but the
        user should know; "skipped", it does not apply or needs what another check found
        missing.
      found: what was seen, one line.
      advice: what to do about it; "" if there is nothing to do.
    """

    name: str
    status: str
    found: str
    advice: str = ""


@dataclasses.dataclass(frozen=True)
class Check:
    """One check: its function's name and docstring, and what to do where it fails.

    The function returns what was found, or a result that is not PASSED; whatever it raises
    is a failure, reported with the line of the user's file. It is left out where a check
    that it needs has failed: it would only repeat what that one found.
    """

    name: str
    promise: str
    advice: str
    function: Callable[[Subject], str | CheckResult]
    needs: tuple[str, ...] = ()


CHECKS: list[Check] = []


def check(advice: str, *, needs: tuple[str, ...] = ()) -> Callable:
    """Makes a `Check` of the decorated function and lists it."""

    def decorate(function: Callable) -> Check:
        promise = " ".join((function.__doc__ or "").split())
        name = function.__name__.replace("_", " ")
        CHECKS.append(Check(name, promise, advice, function, needs))
        return CHECKS[-1]

    return decorate


def check_names() -> tuple[str, ...]:
    """The names of all checks."""
    return tuple(check.name for check in CHECKS)


# (found, advice="") -> the result of a check; without advice of its own, the check's.
failed = functools.partial(CheckResult, "", FAILED)
noted = functools.partial(CheckResult, "", NOTED)


def run_check(check: Check, subject: Subject) -> CheckResult:
    """The result of one check, whatever those that it needs have found."""
    try:
        # Full precision, whatever the user's settings; NaN is put in on purpose.
        with (
            jax.enable_x64(True),
            jax.default_matmul_precision("highest"),
            jax.debug_nans(False),
            jax.debug_infs(False),
            jax.disable_jit(False),
        ):
            result = check.function(subject)
    # Whatever a user's function raises is what was found. sys.exit is no Exception.
    except (Exception, SystemExit) as error:  # noqa: BLE001
        result = failed(errors.format_error(error))
    if isinstance(result, str):
        return CheckResult(check.name, PASSED, result)
    advice = result.advice or check.advice * (result.status == FAILED)
    return dataclasses.replace(result, name=check.name, advice=advice)


@check("an initialiser of Param is (rng, shape, dtype) -> array of that shape")
def parameters(subject: Subject) -> str | CheckResult:
    """init_score_params gives finite floating-point arrays of the declared shapes,
    equal for equal rng.
    """
    rng = jax.random.key(subject.seed)
    initial = subject.initial_params(rng)
    for name, param in subject.score.params:
        value = initial[name]
        shape = tuple(subject.sizes[AXES[letter][1]] for letter in param.axes)
        kind = getattr(value, "dtype", type(value).__name__)
        if np.shape(value) != shape or not jnp.issubdtype(kind, jnp.floating):
            found = f"{kind} {list(np.shape(value))}"
            return failed(f"{name} starts as {found} rather than float {list(shape)}")
        if not np.isfinite(value).all():
            return failed(f"{name} starts with NaN or infinity")
    if distance(subject.initial_params(rng), initial) > 0:
        return failed("they start differently for equal rng", "draw from rng alone")
    listed = [f"{name} [{', '.join(p.axes)}]" for name, p in subject.score.params]
    return ", ".join(listed) or "declares none"


@check(
    "correct that line; if it needs certain feature sizes, give query_size=, key_size= and "
    "alignment_size=",
    needs=("parameters",),
)
def runs(subject: Subject) -> str | CheckResult:
    """Called with a query [Q], keys [S, K] and its parameters, or traced, it returns
    one floating-point array.
    """
    point = subject.point()
    result = subject.call(point)
    kind = getattr(result, "dtype", None)
    if kind is None or not jnp.issubdtype(kind, jnp.floating):
        return failed(
            f"it returned {kind or type(result).__name__}",
            "return one array of floating-point scores, one for each key; for others end "
            "with .astype(query.dtype)",
        )
    try:
        subject.jaxpr(point)
    except CONCRETE_ERRORS as error:
        return failed(
            errors.format_error(error),
            "float(), int(), if and NumPy need numbers, which a traced array is not: "
            "use jnp functions, and jnp.where in place of if",
        )
    return f"query {list(np.shape(point.query))}, keys {list(np.shape(point.keys))}"


@check(
    "reduce over the features alone, axis=-1; for S = 0 a reduction over keys needs "
    "initial= or a guard",
    needs=("runs",),
)
def shape(subject: Subject) -> str | CheckResult:
    """It returns [S], one score for each key, for any S from 0."""
    for length in LENGTHS:
        try:
            found = subject.shape(length).shape
        except Exception as error:  # noqa: BLE001 - whatever a user's function raises
            return failed(f"{length} keys: {errors.format_error(error)}")
        if found != (length,):
            return failed(f"{length} keys gave {list(found)}, not [{length}]")
    return f"[S] for S = {', '.join(map(str, LENGTHS))}"


@check(
    "give constants no dtype or query.dtype, and convert back what is computed in another",
    needs=("shape",),
)
def dtype(subject: Subject) -> str | CheckResult:
    """float32 stays float32, and float64 float64."""
    with jax.enable_x64(False):
        narrow = subject.shape(dtype=jnp.float32).dtype
    found = {"float32": narrow, "float64": subject.shape().dtype}
    wrong = [f"{given} became {came}" for given, came in found.items() if given != came]
    if wrong:
        return failed(", ".join(wrong))
    if subject.precision != "float64":
        return noted(
            f"float64 passes through {subject.precision}, which loses digits",
            "give constants no dtype or query.dtype",
        )
    return "float32 and float64 are kept"


@check(
    "what varies must be an argument: declare it in params, or bind a constant with "
    "functools.partial",
    needs=("runs",),
)
def pure(subject: Subject) -> str | CheckResult:
    """Equal arguments give equal scores: no global state, no host callbacks, no random
    numbers of its own, nothing kept from one call to the next.
    """
    function: Any = subject.score.function
    if hasattr(function, "lower") and hasattr(function, "__wrapped__"):
        # The user's own @jax.jit would remember its trace.
        score = dataclasses.replace(subject.score, function=function.__wrapped__)
        subject = Subject(score, given_sizes=subject.sizes)
    point = subject.point()
    first = subject.call(point)
    try:
        with jax.checking_leaks():
            program = subject.jaxpr(point)
        again, second = subject.jaxpr(point), subject.call(point)
    except Exception as error:
        # checking_leaks raises a bare Exception.
        leaked = isinstance(error, jax.errors.UnexpectedTracerError)
        if not leaked and "Leaked" not in str(error):
            raise
        return failed(
            "it keeps an array of one call, traced, beyond that call",
            "keep no array outside the function; return what is needed later",
        )
    names = {equation.primitive.name for equation in equations(program)}
    callbacks = {n for n in names if "callback" in n or n == "debug_print"}
    if callbacks or program.effects:
        found = sorted(callbacks) or map(str, program.effects)
        return failed(
            f"it calls back to Python: {', '.join(found)}",
            "compute with jnp; take jax.debug.print out when done",
        )
    if _text(program) != _text(again):
        return failed(
            "traced twice, it is two different programs: it reads something that changes, "
            "such as a counter, the time or random numbers"
        )
    if distance(second, first) > 0:
        return failed("called twice with equal arguments, its scores differ")
    return "equal calls and traces are equal"


@check(
    "look for a logarithm, root, norm or division: with jnp.where replace its argument "
    "where it is not differentiable before it and its result after it, as cosine does in "
    "attention_jax/scores.py",
    needs=("pure", "shape"),
)
def finite(subject: Subject) -> str | CheckResult:
    """Ordinary vectors, and zero vectors, which pad keys and fill blocks of queries,
    have finite scores and gradients.
    """
    point = subject.point()
    zeros = jax.tree.map(jnp.zeros_like, point)
    points = {
        "ordinary vectors": point,
        "a zero query": point._replace(query=zeros.query),
        "zero keys": point._replace(keys=zeros.keys),
        "a zero query and zero keys": point._replace(
            query=zeros.query, keys=zeros.keys
        ),
    }
    forbids = False
    for name, one in points.items():
        scores = np.asarray(subject.compiled(one)).astype(np.float64)
        if not (scores < np.inf).all():
            return failed(f"the score is NaN or infinity for {name}")
        forbids |= bool(np.isneginf(scores).any())
        leaves = jax.tree.leaves(subject.gradient(one)[1])
        for part, value in zip(point.part_names(), leaves, strict=True):
            if not np.isfinite(value).all():
                return failed(f"the gradient by {part} is not finite for {name}")
    if forbids:
        return noted(
            "minus infinity",
            "to forbid a key pass a mask, such as masks.by_position: it also defines a "
            "query with no key left",
        )
    return f"for {', '.join(points)}"


@check(
    "unless a stop_gradient or custom derivative means it so: argmax, rounding and casts to "
    "integers have gradient 0, and a custom rule may be wrong",
    needs=("finite",),
)
def gradients(subject: Subject) -> str | CheckResult:
    """Its gradients by query, keys and every parameter agree with finite
    differences.
    """
    _, step, allowed = subject.tolerances
    for draw in range(DRAWS):
        point, rng = subject.point(draw=draw), np.random.default_rng(draw)
        leaves, tree = jax.tree.flatten(point.data)
        total, gradient = subject.gradient(point)
        wrong, unused = [], []
        for number, part in enumerate(point.part_names()):
            direction = rng.standard_normal(leaves[number].shape)
            around = []
            for sign in (1, -1):
                moved = list(leaves)
                moved[number] = leaves[number] + sign * step * direction
                around.append(subject.gradient(point.at(tree.unflatten(moved)))[0])
            expected = float(around[0] - around[1]) / (2 * step)
            slope = np.asarray(jax.tree.leaves(gradient)[number], np.float64)
            came, size = float(np.sum(slope * direction)), float(np.linalg.norm(slope))
            scale = max(abs(expected), size, 1e-5 * abs(float(total)))
            if not abs(came - expected) <= allowed * scale:
                wrong.append(f"by {part} {came:.4g}, finite differences {expected:.4g}")
            if size == 0 and part in point.params:
                unused.append(part)
        if not wrong:
            break
    if wrong:
        return failed("; ".join(wrong))
    if unused:
        return noted(
            f"the gradient by {', '.join(unused)} is 0: it would not be learned",
            "use the parameter, or do not declare it",
        )
    return f"by {', '.join(subject.point().part_names())}"


@check(
    "subtract or divide by nothing that is computed over the keys: making weights of the "
    "scores of all keys is the normaliser's work; with positions=True, key_length is 1 + the "
    "last position that the query may attend to",
    needs=("pure", "shape"),
)
def own_key(subject: Subject) -> str | CheckResult:
    """The score of a key, and its row of what prepare returns, depends on that key, not
    on the others or their number, so that what is masked or padded cannot matter.
    """
    point = subject.point()
    rows = (subject.prepared(point), subject.compiled(point))
    shapes = [list(np.shape(leaf)) for leaf in jax.tree.leaves(rows[0])]
    if not shapes or any(s[:1] != [LENGTH] for s in shapes):
        return failed(
            f"for {LENGTH} keys prepare returns {shapes or 'no array'}",
            "each array that prepare returns has S as its first axis, and a row for each "
            "key made from that key",
        )
    for i, key in enumerate(point.keys):
        # The last two are what padding may hold.
        zeros, nan = jnp.zeros_like(key), jnp.full_like(key, np.nan)
        for what, row in (("another", key + 1), ("zeros", zeros), ("NaN", nan)):
            one = point._replace(keys=point.keys.at[i].set(row))
            came = (subject.prepared(one), subject.compiled(one))
            others = jax.tree.map(lambda leaf: np.delete(leaf, i, axis=0), (came, rows))  # noqa: B023
            if not subject.agree(*others):
                return failed(
                    f"replacing key {i} by {what} changes the score of another"
                )
    first = jax.tree.map(lambda leaf: leaf[:SHORTER], rows)
    one = subject.point(SHORTER)
    alone = (subject.prepared(one), subject.compiled(one))
    if not subject.agree(alone, first):
        return failed(f"the first {SHORTER} keys score otherwise without the others")
    declared = subject.score.block_sparse
    hint = "" if declared else "; may be declared block_sparse, for speed with masks"
    return f"each key replaced by another, by zeros and by NaN, or left out{hint}"


@check(
    "define the function once, at the top of its module; bind numbers, strings, tuples, "
    "arrays or functions, or give the hyper-parameter's class __eq__ and __hash__ (a frozen "
    "dataclass has them)",
    needs=("own key", "dtype"),
)
def compiles_once(subject: Subject) -> str | CheckResult:
    """Named or built again with equal hyper-parameters it is an equal score; a second
    call of attention does not trace again and gives the same bits.
    """
    reference = subject.reference
    if isinstance(reference, functools.partial):
        reference = functools.partial(reference.func, **reference.keywords)
    again = get_score(reference)
    # A hyper-parameter that cannot be copied is not made twice either.
    with contextlib.suppress(TypeError):
        again = dataclasses.replace(again, hyper=copy.deepcopy(again.hyper))
    if again != subject.score or hash(again) != hash(subject.score):
        return failed("built again with equal hyper-parameters it is another score")
    data = subject.sequences()
    first = subject.attend(data).context
    before = attend_checked._cache_size()  # pyrefly: ignore
    second = subject.attend(data, score=again).context
    subject.attend(jax.tree.map(lambda x: x + 1, data), score=again)
    if attend_checked._cache_size() > before:  # pyrefly: ignore
        return failed("a second call with arrays of the same shapes was traced again")
    if distance(second, first) > 0:
        return failed("a second call with equal arrays gives other bits")
    return "a second call does not trace"


@check(
    "if all else passes, it is a bug of attention: please report it",
    needs=("own key", "finite", "dtype"),
)
def masked_keys(subject: Subject) -> str | CheckResult:
    """In attention nothing in a masked key or value, not even NaN, reaches a context or
    a gradient; masking the last keys gives what leaving them out gives; a query with
    nothing to attend to has context, weights and gradient 0.
    """
    outputs = subject.with_gradients
    query, keys, values, params = data = subject.sequences()
    poison = keys.at[:, 2].set(np.nan).at[:, 2, 0].set(np.inf)
    plain = outputs(data, MASK)
    poisoned = outputs((query, poison, values.at[:, 2].set(np.inf), params), MASK)
    for name, found in plain.items():
        if distance(poisoned[name], found) > 0:
            return failed(f"NaN in a key masked for every query reaches the {name}")
    by_query, by_keys, by_values, _ = plain["gradients"]
    nothing = (plain["contexts"], plain["weights"], by_query)
    if any(np.any(leaf[:, -1]) for leaf in nothing):
        return failed(
            "a query with nothing to attend to has a context, weight or gradient that is "
            "not 0"
        )
    if np.any(by_keys[:, 2]) or np.any(by_values[:, 2]):
        return failed("the gradient by a key masked for every query is not 0")
    padded = outputs(data, MASK & (np.arange(LENGTH) < SHORTER))
    short = (query, keys[:, :SHORTER], values[:, :SHORTER], params)
    alone = outputs(short, MASK[:, :SHORTER])
    by_query, *by_keys_and_values, by_params = padded["gradients"]
    cut = [leaf[:, :SHORTER] for leaf in by_keys_and_values]
    padded["gradients"] = (by_query, *cut, by_params)
    padded["weights"] = padded["weights"][..., :SHORTER]
    for name, found in padded.items():
        if distance(found, alone[name]) > 10 * subject.tolerances[0]:
            return failed(f"leaving masked keys out changes the {name}")
    return "NaN in masked keys and values, padding, an empty row"


@check(
    "if the position of a key matters, declare register_score(positions=True) and use "
    "key_positions rather than arange; decide nothing while tracing, and use no batching "
    "rule, callback or kernel that disagrees with the function",
    needs=("masked keys",),
)
def variants(subject: Subject) -> str | CheckResult:
    """Attention over sequences and queries at once gives what `attend` gives for each
    query; under vmap, with the keys, values, mask and key_positions in another order, and
    in chunks, where its gradients agree too.
    """
    query, keys, values, params = data = subject.sequences()
    outputs = subject.with_gradients
    expected = outputs(data, MASK)
    together = expected["contexts"]

    def one(query: Array, keys: Array, values: Array) -> Array:
        return subject.attend((query, keys, values, params)).context

    offs = {"vmap": distance(quick_jit(jax.vmap(one))(query, keys, values), together)}
    options = {name: subject.options[name] for name in ("score", "normalizer")}
    for b, t in ((0, 0), (1, 3), (0, QUERIES - 1)):
        options |= {"where": MASK[t], "params": params, "query_position": t}
        alone = attend(query[b, t], keys[b], values[b], **options)
        offs[f"query {t} alone"] = distance(alone.context, together[b, t])
    permuted = (query, keys[:, ORDER], values[:, ORDER], params)
    found = subject.attend(permuted, MASK[:, ORDER], key_positions=ORDER)
    pair = (together, np.asarray(expected["weights"])[..., ORDER])
    offs["reordered keys"] = distance((found.context, found.weights), pair)
    chunked = outputs(data, MASK, implementation="chunked", chunk_size=2)
    offs["chunks"] = distance(chunked, expected)
    for name, off in offs.items():
        if off > 10 * subject.tolerances[0]:
            return failed(f"{name}: off by a relative {off:.1e}")
    return f"{', '.join(offs)}: within {max(offs.values()):.0e}"


def _text(jaxpr: Any) -> str:
    """The program and its constants; equal for equal programs."""
    constants = [np.asarray(value).tobytes() for value in jaxpr.consts]
    # Functions inside custom derivatives are shown with their addresses.
    return f"{re.sub('0x[0-9a-f]+', '', str(jaxpr))} {constants}"
