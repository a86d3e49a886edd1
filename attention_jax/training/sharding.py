"""How a step's arrays lie on the devices: on one, or the batch spread over all of them."""

from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from attention_jax.config import TrainingConfig
from attention_jax.errors import UserError

_AXIS = "data"


class DataSharding(NamedTuple):
    """Where a step's inputs and outputs belong.

    Attributes:
      replicated: a copy on every device; None on the default device alone.
      by_row: rows divided among the devices; None likewise.
    """

    replicated: NamedSharding | None = None
    by_row: NamedSharding | None = None

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

    def shard_batch(self, batch: Any) -> Any:
        """The global batch with its rows divided among the devices.

        Every process has the whole batch, a function of the step, and takes its slice.
        """
        if self.by_row is None:
            return batch
        sharding = self.by_row

        def place(array: np.ndarray) -> jax.Array:
            rows = len(array) // jax.process_count()
            mine = array[jax.process_index() * rows :][:rows]
            return jax.make_array_from_process_local_data(sharding, mine, array.shape)

        return jax.tree.map(place, batch)

    def local(self, tree: Any) -> Any:
        """Replicated arrays as this process's own on one device, for dev evaluation."""
        if self.replicated is None:
            return tree
        return jax.tree.map(lambda x: jax.numpy.array(x.addressable_data(0)), tree)


ONE_DEVICE = DataSharding()


def make_sharding(training: TrainingConfig) -> DataSharding:
    """One device, or with `training.data_parallel` all devices of all processes.

    Raises:
      UserError: the batch does not divide evenly among the devices, or there are several
        processes and nothing that they would share.
    """
    if not training.data_parallel:
        if jax.process_count() > 1:
            raise UserError(
                f"{jax.process_count()} processes need "
                "config.training.data_parallel=True, got False: each would train alone"
            )
        return ONE_DEVICE
    devices = jax.devices()
    if training.batch_size % len(devices):
        raise UserError(
            "config.training.batch_size must be a multiple of the number of devices, "
            f"{len(devices)}, with config.training.data_parallel, "
            f"got {training.batch_size}"
        )
    mesh = Mesh(np.array(devices), (_AXIS,))
    return DataSharding(
        replicated=NamedSharding(mesh, PartitionSpec()),
        by_row=NamedSharding(mesh, PartitionSpec(_AXIS)),
    )


def any_process(flag: bool) -> bool:
    """Whether `flag` is set in any process; all of them must ask at the same step."""
    if jax.process_count() == 1:
        return flag
    return bool(np.any(multihost_utils.process_allgather(np.asarray(flag))))
