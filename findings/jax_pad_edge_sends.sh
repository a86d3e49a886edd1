#!/usr/bin/env bash
# jax 0.10.2, CPU: jnp.pad(x, [(0, 0), (0, 1)], mode="edge") takes the edges of every axis, of those
# too that are not padded. Where devices divide such an axis, the derivative sends rows from each
# device to the next (collective-permute), although nothing is added along it.
# Expected: an axis with padding (0, 0) is left alone, as by mode="constant".
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


def sends(mode):
    def loss(x):
        return jnp.sum(jnp.sin(jnp.pad(x, [(0, 0), (0, 1)], mode=mode)))

    text = jax.jit(jax.grad(loss)).lower(rows).compile().as_text()
    return text.count(" collective-permute(")


found = {mode: sends(mode) for mode in ("edge", "constant")}
print("messages between devices in the derivative:", found)
assert found["edge"] > 0 and found["constant"] == 0, "changed: only padded axes"
PYTHON
