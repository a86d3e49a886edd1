#!/usr/bin/env bash
# jax 0.10.2, CPU: jax.random.normal(..., dtype=bfloat16) draws from a uniform number of 7 bits, so
# that there are 128 results, from -2.89 to 2.52: the mean of a million is 12 standard errors below
# 0, and there are no tails. Rounding float32 draws has none of this.
# Expected: a normal distribution rounded to bfloat16, with mean 0 and tails.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check jax==0.10.2
cd "$folder"
JAX_PLATFORMS=cpu "$folder/env/bin/python" - <<'PYTHON'
import platform
from importlib.metadata import version

import jax
import jax.numpy as jnp
import numpy as np

print("jax", version("jax"))
print("Python", platform.python_version(), platform.platform())
count = 1_000_000


def seen(draws):
    draws = np.asarray(draws.astype(jnp.float32), np.float64)
    errors = draws.mean() * np.sqrt(count)
    return len(np.unique(draws)), float(draws.min()), float(draws.max()), float(errors)


rng = jax.random.key(0)
narrow = seen(jax.random.normal(rng, (count,), jnp.bfloat16))
rounded = seen(jax.random.normal(rng, (count,), jnp.float32).astype(jnp.bfloat16))
for name, found in (("bfloat16", narrow), ("float32, rounded", rounded)):
    print(f"{name}: %d values from %.2f to %.2f, mean %.1f standard errors from 0" % found)
assert narrow[0] <= 128 and narrow[3] < -5, "changed: more values, or no bias"
assert rounded[0] > 1_000 and abs(rounded[3]) < 4
PYTHON
