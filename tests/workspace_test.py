"""WORKSPACE.md and README.md stay true: places, recipes, names, configs."""

import ast
import importlib.metadata
import pathlib
import re
import sys
import tomllib

import pytest

import attention_jax as aj
from attention_jax.experiment import validate
from experiments.cli import load_configs
from experiments.sweep import name_runs
from tests.markdown import ROOT

WORKSPACE = (ROOT / "WORKSPACE.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def section(text: str, title: str) -> str:
    return re.split(r"^## ", text.split(f"## {title}\n", 1)[1], flags=re.MULTILINE)[0]


def test_every_place_named_exists():
    named = re.findall(r"`([\w/]+(?:\.py|\.md|/))(?:::(\w+))?`", WORKSPACE)
    assert len(named) > 30
    folders = [ROOT, *ROOT.glob("[a-z]*/"), *(ROOT / "attention_jax").rglob("*/")]
    for place, function in named:
        assert any((folder / place).exists() for folder in folders), place
        assert not function or f"def {function}(" in (ROOT / place).read_text(), place


def test_the_map_names_every_part_of_the_package():
    described = section(WORKSPACE, "Map")
    for entry in (ROOT / "attention_jax").iterdir():
        if entry.name.startswith("__") or entry.suffix == ".typed":
            continue
        name = f"attention_jax/{entry.name}" + ("/" if entry.is_dir() else "")
        assert f"`{name}`" in described, f"the map has no line for {name}"


def test_every_recipe_starts_from_a_test():
    recipes = re.split(r"^\d+\. ", section(WORKSPACE, "Recipes"), flags=re.MULTILINE)
    assert len(recipes) > 4
    for recipe in recipes[1:]:
        assert "`tests/" in recipe, recipe[:60]


def test_nothing_computes_scores_with_flax():
    for name in ("scores", "normalizers", "masks", "statistics", "score_modifiers"):
        assert "flax" not in imported(ROOT / f"attention_jax/{name}.py"), name


def test_nothing_in_the_package_reads_flags_or_prints():
    for path in (ROOT / "attention_jax").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id != "print", f"{path} prints"
            if isinstance(node, ast.ImportFrom) and node.module == "absl":
                assert "flags" not in [n.name for n in node.names], f"{path}: flags"


@pytest.mark.parametrize(
    ("heading", "names"),
    [("scores", aj.score_names()), ("normalisers", aj.normalizer_names())],
)
def test_the_readme_lists_what_is_registered(heading, names):
    table = README.split(f"| {heading} | |\n|---|---|\n", 1)[1].split("\n\n", 1)[0]
    listed = re.findall(r"^\| `(\w+)`", table, re.MULTILINE)
    assert listed == list(names)


CONFIGS = sorted((ROOT / "configs").glob("*.py"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_says_what_it_asks(path):
    """Question, command, minutes, result, date; and it can start."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    assert docstring.split("\n")[0].endswith("?"), "the first line is a question"
    for fact in ("Minutes: ", "Result: ", "Date: "):
        assert f"\n{fact}" in docstring, fact
    results = r"^Result: (none|not run yet|\d)"
    assert re.search(results, docstring, re.MULTILINE), "a figure, none or not run yet"
    configs = load_configs(str(path))
    command = f"-m experiments.{'train' if len(configs) == 1 else 'sweep'} --config"
    assert f"{command}=configs/{path.name}" in docstring, "the command"
    page = (ROOT / "experiments/README.md").read_text(encoding="utf-8")
    assert f"`configs/{path.name}`" in page
    for config in name_runs(configs).values():
        validate(config)


def test_everything_public_is_importable_and_documented():
    for name in aj.__all__:
        assert getattr(aj, name).__doc__, name


def imported(path: pathlib.Path) -> set[str]:
    """The top-level modules that a file imports, at its start or inside of functions."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules.add(node.module)
    return {module.split(".")[0] for module in modules}


def test_every_library_imported_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = {re.split(r"[<>=\[]", line)[0] for line in project["dependencies"]}
    providers = importlib.metadata.packages_distributions()
    ours = {*sys.stdlib_module_names, "attention_jax", "benchmarks", "experiments"}
    for folder in ("attention_jax", "benchmarks", "experiments"):
        for path in (ROOT / folder).rglob("*.py"):
            for module in imported(path) - ours:
                found = {n.lower().replace("_", "-") for n in providers.get(module, [])}
                assert found & declared, f"{path} imports {module}, of {found}"


def test_the_version_is_one():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    assert project["version"] == aj.__version__
    assert f"\nversion: {aj.__version__}\n" in citation
