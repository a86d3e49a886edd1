#!/usr/bin/env bash
# jax 0.10.2, CPU: jax.lax.top_k of rows that are divided among devices (a mesh with Auto axes)
# gathers the whole batch on every device and selects all of it on each; jax.lax.sort and argsort
# of the same rows send nothing.
# Expected: rows are independent of each other, so that nothing is sent, as by a sort.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check jax==0.10.2
cd "$folder"
JAX_PLATFORMS=cpu XLA_FLAGS=--xla_force_host_platform_device_count=8 \
  "$folder/env/bin/python" - <<'PYTHON'
import platform
from importlib.metadata import version

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec

print("jax", version("jax"))
print("Python", platform.python_version(), platform.platform())
mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
rows = jax.device_put(jnp.ones((16, 100)), NamedSharding(mesh, PartitionSpec("data")))


def gathers(function):
    text = jax.jit(function).lower(rows).compile().as_text()
    return text.count(" all-gather(")


by_top_k = gathers(lambda x: jax.lax.top_k(x, 3))
by_sort = gathers(lambda x: jnp.argsort(x, descending=True)[:, :3])
print("all-gathers: top_k", by_top_k, "argsort", by_sort)
assert (by_top_k, by_sort) == (1, 0), "changed: top_k no longer gathers"
PYTHON
