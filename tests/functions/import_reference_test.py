"""Functions in a user's own file or module: found, listed, and their errors placed."""

import sys

import pytest

import attention_jax as aj
from attention_jax.functions.import_reference import defined_in

MINE = """
import functools
import jax.numpy as jnp
from jax.numpy import exp
from attention_jax import dot, register_score, soft_cap as cap

capped = cap("dot", 5.0)
wide = functools.partial(cap, cap=3.0)
_private = cap("dot", 2.0)
NUMBER = 3

@register_score
def mine(query, keys):
    return keys @ query

def plain(query, keys):
    return keys @ query
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


def test_only_what_a_file_made_is_listed(file):
    message = r"'plian'\. Did you mean 'plain'\? Known: capped, wide, mine, plain\.$"
    with pytest.raises(LookupError, match=message):
        aj.get_score(f"{file}:plian")


def test_a_package_lists_what_it_collects():
    assert {"dot", "attention"} <= set(defined_in(aj))


@pytest.mark.parametrize("end", ["", ":"])
def test_a_file_without_a_function_is_told_its_functions(file, end):
    message = rf"name its function, {file}:FUNCTION\. .* defines capped, wide, mine, pl"
    with pytest.raises(LookupError, match=message):
        aj.get_score(f"{file}{end}")
    with pytest.raises(LookupError, match="normalizer .* name its function"):
        aj.get_normalizer(str(file))


def test_a_file_of_nothing(tmp_path):
    (tmp_path / "empty.py").write_text("from jax.numpy import exp\n")
    with pytest.raises(LookupError, match="The file defines no function"):
        aj.get_score(str(tmp_path / "empty.py"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\ny = (\n", r"mine\.py' for the score: SyntaxError in line 2: '\('"),
        ("\nimport nonsuch\n", "ModuleNotFoundError in line 2: No module"),
        ("def f():\n    1 / 0\n\nf()\n", "ZeroDivisionError in line 2: division"),
        ("raise SystemExit(3)\n", "SystemExit in line 1: 3"),
        ("import jax.numpy as j\nj.zeros(2) @ j.zeros(3)\n", "TypeError in line 2: "),
        ("raise ValueError('a\\nb')\n", "ValueError in line 1: a$"),
        ("assert 1 == 2\n", "AssertionError in line 1$"),
    ],
)
def test_an_error_inside_a_file_has_its_line(tmp_path, text, message):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(LookupError, match=message):
        aj.get_score(f"{tmp_path}/mine.py:f")


def test_a_file_that_is_not_python_is_told_so(tmp_path):
    (tmp_path / "README.md").write_text("")
    with pytest.raises(LookupError, match=r"README\.md' of score .* must end in \.py"):
        aj.get_score(f"{tmp_path}/README.md:f")


def test_an_error_in_a_module_or_a_helper_names_that_file(tmp_path, monkeypatch):
    (tmp_path / "my_helper.py").write_text("\n\n1 / 0\n")
    (tmp_path / "my_scores.py").write_text("import my_helper\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for reference in ("my_scores.py:f", "my_scores:f"):
        with pytest.raises(LookupError, match=r"Error in line 3 of my_helper\.py: di"):
            aj.get_score(reference)
    assert "my_scores" not in sys.modules
