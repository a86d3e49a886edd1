"""The one table of tolerances: how far a result in each dtype may be from the oracle."""

import numpy as np

# dtype -> (relative, absolute), for values of order one.
FORWARD = {
    "float64": (1e-10, 1e-11),
    "float32": (2e-5, 2e-6),
    "bfloat16": (2e-2, 2e-2),
    "float16": (3e-3, 3e-3),
}
# Derivatives are sums of more terms.
BACKWARD = {
    "float64": (1e-8, 1e-9),
    "float32": (2e-4, 2e-5),
}


def assert_close(actual, expected, dtype="float32", *, table=FORWARD, err_msg=""):
    """`actual` agrees with `expected` as well as `dtype` allows."""
    rtol, atol = table[str(np.dtype(dtype))]
    np.testing.assert_allclose(
        np.asarray(actual, np.float64),
        np.asarray(expected, np.float64),
        rtol=rtol,
        atol=atol,
        err_msg=err_msg,
    )
