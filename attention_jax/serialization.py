"""What `jax.export` takes and gives besides arrays: masks and attention's outputs.

Whatever is static is written as JSON, a predicate by the name of its function in a module or file:
reading an exported function imports that module and runs nothing else.
"""

import dataclasses
import json
from typing import Any

from jax import export

from attention_jax import masks
from attention_jax.attention import Attended, AttentionOutput
from attention_jax.functions import import_reference


def register() -> None:
    """Registers them with `jax.export`, once."""
    for cls in vars(masks).values():
        if not (isinstance(cls, type) and issubclass(cls, masks.Mask)):
            continue
        if not dataclasses.is_dataclass(cls):
            continue  # what the others derive from
        export.register_pytree_node_serialization(
            cls,
            serialized_name=f"attention_jax.{cls.__name__}",
            serialize_auxdata=write_static,
            deserialize_auxdata=read_static,
        )
    for cls in (Attended, AttentionOutput):
        export.register_namedtuple_serialization(
            cls, serialized_name=f"attention_jax.{cls.__name__}"
        )


def write_static(values: tuple[Any, ...]) -> bytes:
    """The static fields of a mask: limits, or a predicate at the top of a module or file.

    Raises:
      ValueError: the predicate has no name that it is found by.
    """
    named = [
        import_reference.reference_to(value) if callable(value) else value
        for value in values
    ]
    for value, name in zip(values, named, strict=True):
        if callable(value) and name is None:
            raise ValueError(
                "masks.by_position: to be written, predicate must be defined at the top of "
                f"a module or file, which {value!r} is not"
            )
    return json.dumps(named).encode()


def read_static(written: bytes) -> tuple[Any, ...]:
    """What `write_static` was given."""
    return tuple(
        import_reference.load_reference("predicate", value)
        if isinstance(value, str)
        else value
        for value in json.loads(written)
    )
