#!/usr/bin/env bash
# flax 0.12.8: nnx.LayerNorm and linen.LayerNorm compute the variance as E[x²] − E[x]² by default
# (use_fast_variance=True). In float32 that cancels where the mean is large beside the spread: the
# features 10000, 10001, 10002 become −1000, 0, 1000 instead of −1.22, 0, 1.22. The variance comes
# out as 0, so that 1 / sqrt(epsilon) is what remains. No warning is given.
# Expected: about −1.22, 0, 1.22, which use_fast_variance=False gives.
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
import numpy as np
from flax import nnx

print("flax", version("flax"), "jax", version("jax"))
print("Python", platform.python_version(), platform.platform())
features = jnp.array([10000.0, 10001.0, 10002.0])
normalized = {}
for fast in (True, False):
    layer = nnx.LayerNorm(3, use_fast_variance=fast, rngs=nnx.Rngs(0))
    normalized[fast] = np.asarray(layer(features))
    print(f"use_fast_variance={fast}: {features} becomes {normalized[fast]}")
default = np.asarray(nnx.LayerNorm(3, rngs=nnx.Rngs(0))(features))
np.testing.assert_array_equal(default, normalized[True])
np.testing.assert_allclose(normalized[False], [-1.2247, 0, 1.2247], atol=1e-3)
assert default.max() > 100, "changed: the default is accurate"
PYTHON
