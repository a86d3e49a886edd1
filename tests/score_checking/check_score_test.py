"""`check_score`: what is right passes, what is broken fails where it is broken."""

import functools
import inspect
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import attention_jax as aj
from attention_jax.score_checking import CHECKS, attending, check_names, costs
from attention_jax.score_checking.report import FAILED, NOTED, PASSED, SKIPPED
from tests.score_checking import broken_scores
from tests.score_checking.broken_scores import BROKEN

# The others compile much: `contract_test` has their promises for the registered scores, and
# a broken score does not get that far.
QUICK = [
    name
    for name in check_names()
    if name
    not in ("chunks", "masked keys", "prepared keys", "large inputs", "higher orders")
]


def check(score, checks=QUICK, **arguments):
    return aj.check_score(score, checks=checks, timing=False, **arguments)


def result(report, name):
    (found,) = (r for r in report.results if r.name == name)
    return found


@pytest.mark.parametrize("score", aj.score_names())
def test_every_registered_score_passes(score):
    report = check(score)
    assert report.ok, str(report)
    assert len(report.results) == len(QUICK) - len([one for one in CHECKS if one.slow])


@pytest.mark.full
@pytest.mark.parametrize("score", aj.score_names())
def test_every_registered_score_passes_in_attention_too(score):
    report = check(score, checks=None)
    assert report.ok, str(report)


@pytest.mark.parametrize(
    ("name", "score"),
    [
        pytest.param(name, score, id=f"{name}-{aj.get_score(score).name}-{number}")
        for name, scores in BROKEN.items()
        for number, score in enumerate(scores)
    ],
)
def test_what_is_broken_fails_there_and_nowhere_else(name, score):
    report = check(score)
    assert [failed.name for failed in report.failed] == [name], str(report)
    assert report.failed[0].found and report.failed[0].advice


def test_every_check_has_been_seen_to_fail_or_to_note():
    """Notes and failures of attention are in the tests below."""
    never = {"sizes", "large inputs", "higher orders", "intermediate", "memory", "time"}
    ours = {"masked keys", "prepared keys", "chunks"}
    assert set(BROKEN) | never | ours == set(check_names())


def test_checks_come_after_what_they_need():
    names = check_names()
    assert len(set(names)) == len(names)
    for number, one in enumerate(CHECKS):
        assert set(one.needs) <= set(names[:number]), one.name
        assert one.promise.endswith(".") and one.function.__doc__


def same(*arguments, mask, **options):
    """Attention that does not mask."""
    return aj.attention(*arguments, mask=None, **options)


def off(*arguments, chunk_size=None, **options):
    """Attention that is wrong in blocks."""
    output = aj.attention(*arguments, chunk_size=chunk_size, **options)
    return output._replace(context=output.context * (1 + (chunk_size == 1)))


def doubled(score, keys, params):
    return aj.prepare_keys(score, 2 * keys, params)


@pytest.mark.parametrize(
    ("name", "function", "wrong", "score"),
    [
        ("masked keys", "attention", same, "dot"),
        ("chunks", "attention", off, "dot"),
        ("prepared keys", "prepare_keys", doubled, "bilinear"),
    ],
)
def test_wrong_attention_is_seen(monkeypatch, name, function, wrong, score):
    monkeypatch.setattr(attending, function, wrong)
    report = check(score, checks=[name])
    assert [failed.name for failed in report.failed] == [name]


def test_all_checks_of_a_partial_of_a_combinator():
    wrapped = aj.soft_cap(aj.with_alibi("bilinear", 0.1), 5.0)
    report = check(wrapped, checks=None)
    assert report.ok, str(report)
    assert report.score == repr(wrapped)
    assert {r.status for r in report.results} == {PASSED}


def test_a_users_functions_by_every_name(tmp_path):
    (tmp_path / "mine.py").write_text(
        "def mine(query, keys, *, scale=1.0):\n    return keys @ query * scale\n"
    )
    file = f"{tmp_path}/mine.py:mine"
    partial = functools.partial(aj.get_score(file), scale=3.0)
    for score in (
        file,
        partial,
        "attention_jax.scores:dot",
        lambda query, keys: keys @ query,
    ):
        assert check(score, checks=["compiles once"]).ok


def here(query, keys, *, query_position, key_positions, key_length):
    return jnp.where(key_positions == query_position, 50.0, 0.0)


def test_positions_are_given_and_constants_without_dtype_noted():
    report = check(aj.Score(here, positions=True))
    assert report.ok, str(report)
    assert (
        "float32 became float64 under jax_enable_x64" in result(report, "dtype").found
    )


def test_an_exception_is_told_with_its_line():
    found = result(check(broken_scores.in_place), "runs").found
    lines, first = inspect.getsourcelines(broken_scores.in_place)
    line = first + lines.index("    keys[0] = 0.0\n")
    assert found.startswith("TypeError in line ")
    assert f"line {line} of " in found and "broken_scores.py: JAX arrays are" in found


def test_one_failure_hides_only_what_would_repeat_it():
    report = check(broken_scores.logarithm, checks=[*QUICK, "higher orders"])
    assert result(report, "gradients").status == SKIPPED
    assert result(report, "gradients").found == "after finite"
    assert result(report, "higher orders").found == "after finite"
    assert result(report, "own key").status == PASSED


def exits(query, keys):
    raise SystemExit(3)


def test_exits_and_false_declarations():
    assert result(check(exits), "runs").found.startswith("SystemExit in line ")
    with pytest.raises(LookupError, match="unknown score 'dott'"):
        aj.check_score("dott")
    with pytest.raises(ValueError, match="declare it with register_score"):
        aj.check_score(lambda query, keys, *, w: keys @ query)
    with pytest.raises(TypeError, match="score must be a name"):
        aj.check_score(3)


def needs_eight(query, keys):
    return keys.reshape(-1, 2, 4).sum(1) @ query[:4]


def test_sizes_are_those_asked_for():
    assert not check(needs_eight, checks=["runs"]).ok
    report = check(needs_eight, checks=["sizes"], key_size=8)
    assert report.ok
    assert report.sizes["query_size"] == report.sizes["key_size"] == 8
    assert "Q = 8, K = 8, but not Q = 8, K = 9: TypeError in line" in (
        result(report, "sizes").found
    )
    assert result(check("bilinear", checks=["sizes"]), "sizes").status == PASSED
    report = check("additive", checks=["sizes"], query_size=5, key_size=3)
    assert (
        report.ok and result(report, "sizes").found == "Q = 5, K = 3 and Q = 5, K = 5"
    )
    for wrong in (0, 2.5, True):
        with pytest.raises(ValueError, match="alignment_size must be a whole number"):
            check("dot", alignment_size=wrong)


def test_only_the_checks_asked_for_and_their_needs():
    names = [r.name for r in check("dot", checks="no keys").results]
    assert names == ["parameters", "runs", "traces", "shape", "no keys"]
    with pytest.raises(LookupError, match="unknown check 'shapes'.*'shape'"):
        check("dot", checks=["shapes"])


def forbids(query, keys):
    return jnp.where(keys[:, 0] > 0, keys @ query, -jnp.inf)


def exponential(query, keys):
    return jnp.exp(keys @ query)


@jax.custom_vjp
def _identity(x):
    return x


_identity.defvjp(lambda x: (x, None), lambda _, g: (g,))


def reverse_only(query, keys):
    return _identity(keys @ query)


def noisy(query, keys):
    noise = jax.random.normal(jax.random.key(0), query.shape, query.dtype)
    return keys @ (query + noise)


def every_pair(query, keys):
    return (keys[:, None, :] * query[None, :, None]).sum((1, 2))


def without_w(query, keys, *, w):
    del w
    return keys @ query


NOTES = {
    "finite": (forbids, "minus infinity"),
    "large inputs": (exponential, "not finite in float32"),
    "higher orders": (reverse_only, "not there: TypeError"),
    "pure": (noisy, "random numbers, the same ones"),
    "intermediate": (every_pair, "[S, Q, Q] a query: 64x additive's"),
}


@pytest.mark.parametrize("name", NOTES)
def test_what_a_user_should_know_is_noted(name):
    score, message = NOTES[name]
    found = result(check(score, checks=[name]), name)
    assert found.status == NOTED
    assert message in found.found and found.advice


def test_a_parameter_without_effect_is_noted():
    score = aj.Score(without_w, (("w", aj.Param("QK")),))
    found = result(check(score, checks=["gradients"]), "gradients")
    assert found.status == NOTED and "by w is 0" in found.found


def absolute(query, keys):
    """A kink, not at the point but within the step of a difference."""
    return -jnp.abs(keys - query[None, :]).sum(-1)


def test_a_kink_is_no_failure():
    assert check(absolute, checks=["gradients"]).ok


def test_the_users_settings_do_not_matter_and_stay():
    with jax.debug_nans(True), jax.disable_jit(True):
        assert check("dot", checks=["own key"]).ok
        assert jax.config.jax_debug_nans and jax.config.jax_disable_jit
    with jax.enable_x64(True):
        assert check("dot", checks=["intermediate"]).ok
    assert not jax.config.jax_enable_x64


def of_six(query, keys, *, matrix=None):
    return keys @ (jnp.asarray(matrix, query.dtype) @ query)


def test_cost_is_told_at_sizes_that_the_score_takes():
    score = functools.partial(of_six, matrix=np.eye(6))
    report = check(score, checks=["intermediate"])
    assert report.ok, str(report)
    assert (
        result(report, "intermediate").found == "[S] a query: 0.25x additive's [S, A]"
    )
    assert report.score == "of_six(...)"


def test_memory_and_time_are_told_beside_the_baseline(monkeypatch):
    monkeypatch.setattr(costs, "BASELINE", "dot")
    monkeypatch.setattr(costs, "QUERIES", 4)
    monkeypatch.setattr(costs, "KEYS", 5)
    monkeypatch.setattr(costs, "REPEATS", 3)
    costs.programs_of.cache_clear()
    report = aj.check_score("dot", checks=["memory", "time"])
    costs.programs_of.cache_clear()
    assert report.ok
    for name, unit in (("memory", "MiB"), ("time", "ms")):
        found = result(report, name).found
        assert found.startswith("forward ") and "; gradient " in found
        assert unit in found and "x dot's" in found


def test_a_report_is_a_table_and_json():
    report = check(broken_scores.column, checks=["no keys"])
    assert report.summary == "column: 3 passed, 1 failed (shape), 1 skipped"
    assert [row[:2] for row in report.rows()][3:] == [
        ("shape", FAILED),
        ("no keys", SKIPPED),
    ]
    lines = str(report).splitlines()
    assert lines[0] == report.summary
    assert lines[4] == "  shape       failed   1 keys gave [1, 1], not [1]"
    assert lines[5].endswith("-> reduce over the features alone, axis=-1")
    stored = json.loads(json.dumps(report.to_dict()))
    assert stored["ok"] is False
    assert stored["checks"][3]["found"] == "1 keys gave [1, 1], not [1]"
