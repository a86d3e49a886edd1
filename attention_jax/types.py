"""The axis letters of every signature, and the array types they annotate.

    B  batch                 T  queries (target steps)     S  keys (source steps)
    Q  query features        K  key features               V  value features
    A  alignment features    H  hidden (recurrent) size    E  embedding size
    W  vocabulary size

`...` is any number of leading axes; arrays broadcast there, indexed from the right.
"""

from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int

__all__ = ["Array", "ArrayLike", "Bool", "Float", "Int"]
