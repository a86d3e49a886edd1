#!/usr/bin/env bash
# jax 0.10.2: jax.nn.dot_product_attention gives a query that may attend to nothing the mean of all
# values, masked ones included, and passes gradient 1/S to each of them. A key length of 0 does the
# same. In a padded batch an empty sentence so gets content, and its padding gets gradient.
# Expected: zeros, as ONNX requires and as PyTorch gives, or a documented value.
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
query = jnp.ones((1, 1, 1, 2))
key = jnp.ones((1, 3, 1, 2))
value = jnp.arange(6.0).reshape(1, 3, 1, 2)
nothing = jnp.zeros((1, 1, 1, 3), bool)


def attend(value):
    return jax.nn.dot_product_attention(query, key, value, mask=nothing)


out = attend(value).ravel()
gradient = jax.grad(lambda value: attend(value).sum())(value).ravel()
empty = jax.nn.dot_product_attention(
    query, key, value, key_value_seq_lengths=jnp.array([0])
).ravel()
print("values", value.reshape(3, 2).tolist(), "all masked")
print("context", out, "gradient by the values", gradient)
print("context with key_value_seq_lengths=0", empty)
mean = np.asarray(value).mean((0, 1, 2))
np.testing.assert_allclose(out, mean, rtol=1e-6)
np.testing.assert_allclose(empty, mean, rtol=1e-6)
np.testing.assert_allclose(gradient, 1 / 3, rtol=1e-6)
PYTHON
