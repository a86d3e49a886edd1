"""What `jax.export` takes and gives besides arrays: masks, prepared keys, attention's outputs.

Static parts, such as the score that keys were prepared for, are pickled: scores and normalisers
by the name of their function in a module or a file. Deserialise what you trust.
"""

import pickle

from jax import export

from attention_jax import masks
from attention_jax.attention import Attended, AttentionOutput
from attention_jax.functions.prepared import PreparedKeys

_MASKS = (
    masks.Causal,
    masks.Window,
    masks.Padding,
    masks.Segments,
    masks.Prefix,
    masks.Dense,
    masks.ByPosition,
    masks.Both,
    masks.Either,
    masks.Not,
)


def register() -> None:
    """Registers them with `jax.export`, once."""
    for cls in (*_MASKS, PreparedKeys):
        export.register_pytree_node_serialization(
            cls,
            serialized_name=f"attention_jax.{cls.__name__}",
            serialize_auxdata=pickle.dumps,
            deserialize_auxdata=pickle.loads,
        )
    for cls in (Attended, AttentionOutput):
        export.register_namedtuple_serialization(
            cls, serialized_name=f"attention_jax.{cls.__name__}"
        )
