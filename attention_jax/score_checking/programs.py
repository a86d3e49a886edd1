"""What can be read off a traced function's jaxpr."""

import re
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxprs_in_params


def equations(jaxpr: Any) -> Iterator[Any]:
    """The equations of a jaxpr and of those inside it: jits, loops, custom derivatives."""
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from equations(inner)


def primitive_names(jaxpr: Any) -> set[str]:
    """The names of the primitives in it."""
    return {equation.primitive.name for equation in equations(jaxpr)}


def narrowest_float(jaxpr: Any) -> np.dtype:
    """The floating-point dtype of fewest bits that anything in it is computed in."""
    found = [
        variable.aval.dtype
        for equation in equations(jaxpr)
        for variable in equation.outvars
        if jnp.issubdtype(getattr(variable.aval, "dtype", np.int32), jnp.floating)
    ]
    return min(found, key=lambda dtype: dtype.itemsize, default=np.dtype("float64"))


def text(jaxpr: Any) -> str:
    """The program and its constants; equal for equal programs."""
    constants = [np.asarray(value).tobytes() for value in jaxpr.consts]
    # Functions inside custom derivatives are shown with their addresses.
    return f"{re.sub('0x[0-9a-f]+', '', str(jaxpr))} {constants}"
