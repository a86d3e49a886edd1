"""On which devices a step's arrays lie: one, or all of them with the batch spread out."""

from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from attention_jax.config import TrainingConfig

_AXIS = "data"


class Placement(NamedTuple):
    """Where a step's inputs and outputs belong.

    Attributes:
      replicated: a copy on every device; None on the default device alone.
      spread: rows divided among the devices; None likewise.
    """

    replicated: NamedSharding | None = None
    spread: NamedSharding | None = None

    def replicate(self, tree: Any) -> Any:
        """The arrays, the same in every process, as global arrays on every device."""
        if self.replicated is None:
            return tree
        sharding = self.replicated
        return jax.tree.map(
            lambda x: jax.make_array_from_process_local_data(
                sharding, np.asarray(x), x.shape
            ),
            tree,
        )

    def spread_rows(self, batch: Any) -> Any:
        """A global batch, which every process has whole, with each device its rows.

        A batch is a function of the step, so that a process merely takes its slice.
        """
        if self.spread is None:
            return batch
        sharding = self.spread

        def place(array: np.ndarray) -> jax.Array:
            rows = len(array) // jax.process_count()
            mine = array[jax.process_index() * rows :][:rows]
            return jax.make_array_from_process_local_data(sharding, mine, array.shape)

        return jax.tree.map(place, batch)

    def local(self, tree: Any) -> Any:
        """Replicated arrays as this process's own on one device, for what is not spread."""
        if self.replicated is None:
            return tree
        return jax.tree.map(lambda x: jax.numpy.array(x.addressable_data(0)), tree)


ONE_DEVICE = Placement()


def make_placement(training: TrainingConfig) -> Placement:
    """One device, or with `training.data_parallel` all devices of all processes.

    Raises:
      ValueError: the batch does not divide evenly among the devices, or there are several
        processes and nothing that they would share.
    """
    if not training.data_parallel:
        if jax.process_count() > 1:
            raise ValueError(
                f"{jax.process_count()} processes need "
                "config.training.data_parallel=True, got False: each would train alone"
            )
        return ONE_DEVICE
    devices = jax.devices()
    if training.batch_size % len(devices):
        raise ValueError(
            "config.training.batch_size must be a multiple of the number of devices, "
            f"{len(devices)}, with config.training.data_parallel, "
            f"got {training.batch_size}"
        )
    mesh = Mesh(np.array(devices), (_AXIS,))
    return Placement(
        replicated=NamedSharding(mesh, PartitionSpec()),
        spread=NamedSharding(mesh, PartitionSpec(_AXIS)),
    )


def any_process(flag: bool) -> bool:
    """Whether `flag` is set in any process; all of them must ask at the same step."""
    if jax.process_count() == 1:
        return flag
    from jax.experimental import multihost_utils

    return bool(np.any(multihost_utils.process_allgather(np.asarray(flag))))
