"""How a step's arrays lie on the devices: on one, or the batch spread over all of them."""

import contextlib
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from attention_jax.config import TrainingConfig
from attention_jax.errors import UserError


class DataSharding(NamedTuple):
    """Where a step's inputs and outputs belong; None is the default device alone."""

    replicated: NamedSharding | None = None  # a copy on every device
    by_row: NamedSharding | None = None  # rows divided among the devices

    def replicate(self, tree: Any) -> Any:
        """The arrays, the same in every process, as global arrays on every device."""
        return _place(tree, self.replicated)

    def shard_batch(self, batch: Any) -> Any:
        """The global batch, which every process has, its rows divided among the devices."""
        return _place(batch, self.by_row)

    def in_use(self) -> contextlib.AbstractContextManager:
        """While a step is traced: what would gather divided rows learns of the mesh."""
        if self.replicated is None:
            return contextlib.nullcontext()
        return jax.sharding.use_abstract_mesh(self.replicated.mesh.abstract_mesh)

    def local(self, tree: Any) -> Any:
        """Replicated arrays as this process's own on one device, for dev evaluation."""
        if self.replicated is None:
            return tree
        return jax.tree.map(lambda x: jax.numpy.array(x.addressable_data(0)), tree)


ONE_DEVICE = DataSharding()


def _place(tree: Any, sharding: NamedSharding | None) -> Any:
    """The tree as global arrays, of which each process fills its own devices' parts."""
    if sharding is None:
        return tree

    def place(array: Any) -> jax.Array:
        whole = np.asarray(array)
        return jax.make_array_from_callback(
            whole.shape, sharding, lambda index: whole[index]
        )

    return jax.tree.map(place, tree)


def make_sharding(training: TrainingConfig) -> DataSharding:
    """One device, or with `training.data_parallel` all devices of all processes."""
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
    mesh = Mesh(np.array(devices), ("data",))
    return DataSharding(
        replicated=NamedSharding(mesh, PartitionSpec()),
        by_row=NamedSharding(mesh, PartitionSpec("data")),
    )


def any_process(flag: bool) -> bool:
    """Whether `flag` is set in any process; all of them must ask at the same step."""
    if jax.process_count() == 1:
        return flag
    return bool(np.any(multihost_utils.process_allgather(np.asarray(flag))))
