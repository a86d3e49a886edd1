#!/usr/bin/env bash
# flax 0.12.8: nnx.tabulate raises yaml's RepresenterError where the keyword arguments of a module
# within the model hold no array but a registered pytree, such as a mask of causality. One that
# holds an array is tabulated.
# Expected: a table, with the argument's repr.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check flax==0.12.8 jax==0.10.2
cd "$folder"
JAX_PLATFORMS=cpu "$folder/env/bin/python" - <<'PYTHON'
import dataclasses
import platform
from importlib.metadata import version

import jax
import jax.numpy as jnp
from flax import nnx

print("flax", version("flax"), "jax", version("jax"))
print("Python", platform.python_version(), platform.platform())


@dataclasses.dataclass
class Causal:
    pass


@dataclasses.dataclass
class Padding:
    lengths: jax.Array


jax.tree_util.register_dataclass(Causal, data_fields=[], meta_fields=[])
jax.tree_util.register_dataclass(Padding, data_fields=["lengths"], meta_fields=[])


class Layer(nnx.Module):
    def __init__(self):
        self.w = nnx.Param(jnp.ones(2))

    def __call__(self, x, *, mask):
        return x * self.w[...]


class Model(nnx.Module):
    def __init__(self, mask):
        self.layer, self.mask = Layer(), mask

    def __call__(self, x):
        return self.layer(x, mask=self.mask())


def tabulated(mask):
    try:
        return "Layer" in nnx.tabulate(Model(mask), jnp.ones(2))
    except Exception as error:
        return type(error).__name__


print("with an array:", tabulated(lambda: Padding(jnp.ones(2))))
found = tabulated(Causal)
print("without:", found)
assert found == "RepresenterError", "changed: it is tabulated"
PYTHON
