#!/usr/bin/env bash
# flax 0.12.8: nnx.tabulate of a module that calls .items() (or .values(), .keys()) of an nnx.Dict
# raises RecursionError. tabulate wraps the methods of every type of module in the model, nnx.Dict's
# own too, in a function that splits the module, which calls these methods. Indexing works.
# Expected: a table, as for the same module with self.params["w"].
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check flax==0.12.8 jax==0.10.2
cd "$folder"
JAX_PLATFORMS=cpu "$folder/env/bin/python" - <<'PYTHON'
import platform
from importlib.metadata import version

import jax.numpy as jnp
from flax import nnx

print("flax", version("flax"), "jax", version("jax"))
print("Python", platform.python_version(), platform.platform())


class Scale(nnx.Module):
    def __init__(self, by_items):
        self.params = nnx.Dict({"w": nnx.Param(jnp.ones(2))})
        self.by_items = by_items

    def __call__(self, x):
        params = dict(self.params.items()) if self.by_items else self.params
        return x * params["w"][...]


def tabulated(by_items):
    try:
        return "Total Parameters: 2" in nnx.tabulate(Scale(by_items), jnp.ones(2))
    except RecursionError:
        return "RecursionError"


print("by index:", tabulated(False))
found = tabulated(True)
print("by items:", found)
assert found == "RecursionError", "changed: it is tabulated"
PYTHON
