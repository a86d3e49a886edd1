"""`check_score`: what is right passes, what is broken fails where it is broken.

`tests/contract_test.py` runs the checks of attention on every registered score.
"""

import functools
import inspect
import json

import jax
import jax.numpy as jnp
import pytest

import attention_jax as aj
from attention_jax.testing import checks, subject
from attention_jax.testing.checks import CHECKS, FAILED, NOTED, PASSED, SKIPPED
from tests.testing import broken_scores
from tests.testing.broken_scores import BROKEN

NAMES = checks.check_names()
# Those of the score itself; the others compile much.
OF_SCORE = NAMES[: NAMES.index("masked keys")]


def check(score, checks=OF_SCORE, **arguments):
    return aj.check_score(score, checks=checks, **arguments)


def result(report, name):
    (found,) = (r for r in report.results if r.name == name)
    return found


@pytest.mark.parametrize("score", aj.score_names())
def test_every_registered_score_passes(score):
    report = check(score)
    assert report.ok, str(report)
    assert [one.name for one in report.results] == list(OF_SCORE)


@pytest.mark.parametrize(
    ("name", "score"),
    [
        pytest.param(name, score, id=f"{name}-{aj.get_score(score).name}-{number}")
        for name, scores in BROKEN.items()
        for number, score in enumerate(scores)
    ],
)
def test_what_is_broken_fails_there_and_nowhere_else(name, score):
    report = check(score, checks=[*OF_SCORE, name])
    assert [failed.name for failed in report.failed] == [name], str(report)
    assert report.failed[0].found and report.failed[0].advice


def test_every_check_has_been_seen_to_fail():
    """Those that only attention can fail are in the test below."""
    assert {*BROKEN, "masked keys"} == set(NAMES)
    assert len(set(NAMES)) == len(NAMES)
    for number, one in enumerate(CHECKS):
        assert set(one.needs) <= set(NAMES[:number]), one.name
        assert one.promise.endswith(".")


def unmasked(*arguments, mask, **options):
    return aj.attention(*arguments, mask=None, **options)


def unsilenced(query, keys, values, *, mask, **options):
    """Attention that masks, but lets NaN in masked values through."""
    found = aj.attention(query, keys, values, mask=mask, **options)
    return found._replace(context=found.context + 0 * values.sum())


def wrong_in_chunks(*arguments, implementation, **options):
    output = aj.attention(*arguments, implementation=implementation, **options)
    return output._replace(context=output.context * (1 + (implementation == "chunked")))


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("masked keys", unmasked),
        ("masked keys", unsilenced),
        ("variants", wrong_in_chunks),
    ],
)
def test_wrong_attention_is_seen(monkeypatch, name, wrong):
    monkeypatch.setattr(subject, "attention", wrong)
    report = check("dot", checks=[name])
    assert [failed.name for failed in report.failed] == [name], str(report)


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
    for score in (file, partial, "attention_jax.scores:dot", lambda q, k: k @ q):
        assert check(score, checks=["compiles once"]).ok


def here(query, keys, *, query_position, key_positions, key_length):
    return jnp.where(key_positions == query_position, 50.0, 0.0)


def test_positions_are_given():
    report = check(aj.Score(here, positions=True))
    assert report.ok, str(report)


def test_an_exception_is_reported_with_its_line():
    found = result(check(broken_scores.in_place), "runs").found
    lines, first = inspect.getsourcelines(broken_scores.in_place)
    line = first + lines.index("    keys[0] = 0.0\n")
    assert found.startswith("TypeError in line ")
    assert f"line {line} of " in found and "broken_scores.py: JAX arrays are" in found


def test_one_failure_hides_only_what_would_repeat_it():
    report = check(broken_scores.logarithm)
    assert result(report, "gradients").status == SKIPPED
    assert result(report, "gradients").found == "after finite"
    assert result(report, "own key").status == PASSED


def exits(query, keys):
    raise SystemExit(3)


def needs_eight(query, keys):
    return keys.reshape(-1, 2, 4).sum(1) @ query[:4]


def test_exits_sizes_and_false_declarations():
    assert result(check(exits), "runs").found.startswith("SystemExit in line ")
    assert result(check(needs_eight), "runs").status == FAILED
    assert check(needs_eight, checks=["shape"], query_size=8).sizes["key_size"] == 8
    assert check(needs_eight, checks=["shape"], key_size=8).ok
    for wrong in (0, 2.0, True):
        with pytest.raises(ValueError, match="alignment_size must be an integer"):
            check("dot", alignment_size=wrong)
    with pytest.raises(LookupError, match="unknown score 'dott'"):
        aj.check_score("dott")
    with pytest.raises(ValueError, match="declare it with register_score"):
        aj.check_score(lambda query, keys, *, w: keys @ query)
    with pytest.raises(TypeError, match="score must be a name"):
        aj.check_score(3)


def test_only_the_checks_asked_for_and_their_needs():
    names = [r.name for r in check("dot", checks="shape").results]
    assert names == ["parameters", "runs", "shape"]
    with pytest.raises(LookupError, match="unknown check 'shapes'.*'shape'"):
        check("dot", checks=["shapes"])


def forbids(query, keys):
    return jnp.where(keys[:, 0] > 0, keys @ query, -jnp.inf)


def without_w(query, keys, *, w):
    del w
    return keys @ query


@pytest.mark.parametrize(
    ("name", "score", "message"),
    [
        ("finite", forbids, "minus infinity"),
        ("gradients", aj.Score(without_w, (("w", aj.Param("QK")),)), "by w is 0"),
    ],
)
def test_what_a_user_should_know_is_noted(name, score, message):
    found = result(check(score, checks=[name]), name)
    assert found.status == NOTED
    assert message in found.found and found.advice


def absolute(query, keys):
    """A kink, not at the point but within the step of a difference."""
    return -jnp.abs(keys - query[None, :]).sum(-1)


def test_a_kink_is_not_a_failure():
    assert check(absolute, checks=["gradients"]).ok


def test_the_users_settings_do_not_matter_and_stay():
    with jax.debug_nans(True), jax.disable_jit(True):
        assert check("dot", checks=["own key"]).ok
        assert jax.config.jax_debug_nans and jax.config.jax_disable_jit
    assert not jax.config.jax_enable_x64


def test_a_report_is_a_table_and_json():
    report = check(broken_scores.column, checks=["dtype"])
    assert report.summary == "column: 2 passed, 1 failed (shape), 1 skipped"
    assert [row[:2] for row in report.rows()][2:] == [
        ("shape", FAILED),
        ("dtype", SKIPPED),
    ]
    lines = str(report).splitlines()
    assert lines[0] == report.summary
    assert lines[3] == "  shape       failed   0 keys gave [0, 1], not [0]"
    assert "-> reduce over the features alone, axis=-1" in lines[4]
    stored = json.loads(json.dumps(report.to_dict()))
    assert stored["ok"] is False
    assert stored["checks"][2]["found"] == "0 keys gave [0, 1], not [0]"
