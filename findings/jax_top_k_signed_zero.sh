#!/usr/bin/env bash
# jax 0.10.2, CPU: jax.lax.top_k ranks 0.0 above -0.0, although they compare equal. So top_k of
# [-0.0, 0.0] names index 1 where argmax names index 0, and "ties go to the lower index" does not
# hold between zeros of different sign. A selection built from comparisons disagrees with it.
# Expected: equal numbers are a tie, as for argmax and in NumPy.
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

print("jax", version("jax"))
print("Python", platform.python_version(), platform.platform())
zeros = jnp.array([-0.0, 0.0])
top = int(jax.lax.top_k(zeros, 1)[1][0])
first = int(jnp.argmax(zeros))
print("equal:", bool(zeros[0] == zeros[1]), "top_k:", top, "argmax:", first)
assert zeros[0] == zeros[1]
assert (top, first) == (1, 0), "changed: top_k and argmax agree"
PYTHON
