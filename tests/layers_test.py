"""The layers of the code, low to high; imports go down or sideways, and never in a circle."""

import ast
import graphlib
import pathlib
from collections.abc import Iterator

from tests.markdown import ROOT

# A module belongs to the first layer that names it or a package that it is in.
LAYERS: tuple[tuple[str, ...], ...] = (
    (
        "attention_jax.errors",
        "attention_jax.types",
        "attention_jax.moved",
        "attention_jax.atomic_write",
    ),
    ("attention_jax.functions",),
    (
        "attention_jax.scores",
        "attention_jax.score_modifiers",
        "attention_jax.normalizers",
        "attention_jax.masks",
        "attention_jax.statistics",
    ),
    ("attention_jax.arguments",),
    ("attention_jax.kernels",),
    ("attention_jax.attention", "attention_jax.serialization"),
    ("attention_jax.nn", "attention_jax.dot_product", "attention_jax.testing"),
    ("attention_jax.config",),
    ("attention_jax.data",),
    ("attention_jax.models",),
    ("attention_jax.training",),
    ("attention_jax.decoding",),
    ("attention_jax.run",),
    ("attention_jax.evaluation",),
    ("attention_jax.experiment",),
    ("attention_jax",),
    ("benchmarks", "configs"),
    ("experiments",),
)
FOLDERS = ("attention_jax", "benchmarks", "configs", "experiments")


def module_name(path: pathlib.Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {
    module_name(path): path
    for folder in FOLDERS
    for path in sorted((ROOT / folder).rglob("*.py"))
}


def layer(module: str) -> int:
    for level, packages in enumerate(LAYERS):
        for package in packages:
            exact = package == "attention_jax"
            if module == package or (not exact and module.startswith(package + ".")):
                return level
    raise AssertionError(f"{module} is in no layer")


def imports(tree: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    """Each import statement of one of our modules, and the module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in FILES else node.module for name in inside]
        else:
            continue
        for name in dict.fromkeys(names):
            if name in FILES:
                yield node, name


def parse(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text(encoding="utf-8"))


def test_every_module_is_in_a_layer():
    assert len(FILES) > 50
    assert all(layer(module) >= 0 for module in FILES)


def test_no_import_goes_up():
    upward = [
        f"{module} (layer {layer(module)}) imports {name} (layer {layer(name)})"
        for module in FILES
        if module != "attention_jax"
        for _, name in imports(parse(module))
        if layer(name) > layer(module)
    ]
    assert not upward, "\n".join(upward)


def test_no_import_goes_in_a_circle():
    graph = {
        module: {name for _, name in imports(parse(module))} - {module}
        for module in FILES
        # The package's own collection of names imports its modules, not the reverse.
        if module != "attention_jax"
    }
    tuple(graphlib.TopologicalSorter(graph).static_order())


def test_imports_stand_at_the_top():
    """A few may be inside a function, where a program starts quicker for it."""
    local = []
    for module in FILES:
        tree = parse(module)
        functions = (ast.FunctionDef, ast.AsyncFunctionDef)
        for function in ast.walk(tree):
            if isinstance(function, functions):
                found = {name: node for node, name in imports(function)}
                local += [f"{module}:{n.lineno} {name}" for name, n in found.items()]
    assert len(set(local)) <= 15, "\n".join(sorted(set(local)))
