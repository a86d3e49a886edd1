#!/usr/bin/env bash
# jax 0.10.2: jax.nn.dot_product_attention of float16 arrays works on a CPU and fails under jax.jit:
# "The precision 'F16_F16_F32' is not supported by dot_general on CPU". It asks for that precision
# inside a try, but a compiled function meets the error only when it is lowered, after the try.
# Besides, float64 arrays give float64 results of float32's accuracy: its softmax is in float32.
# Expected: the same results with and without jit, and float64 of float64's accuracy.
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
x = np.random.default_rng(0).normal(size=(1, 6, 2, 8))
half = jnp.asarray(x, jnp.float16)
print("eager", jax.nn.dot_product_attention(half, half, half).dtype)
message = ""
try:
    jax.jit(jax.nn.dot_product_attention)(half, half, half)
except ValueError as error:
    message = str(error).splitlines()[0]
print("jit", message or "works")
assert "F16_F16_F32" in message

jax.config.update("jax_enable_x64", True)
found = jax.nn.dot_product_attention(*(jnp.asarray(x, jnp.float64),) * 3)
scores = np.einsum("btnh,bsnh->bnts", x, x) / np.sqrt(8)
weights = np.exp(scores)
weights /= weights.sum(-1, keepdims=True)
error = np.abs(np.einsum("bnts,bsnh->btnh", weights, x) - found).max()
print(found.dtype, "with an error of", error)
assert found.dtype == jnp.float64 and error > 1e-9
PYTHON
