#!/usr/bin/env bash
# orbax-checkpoint 0.12.8: CheckpointManager takes a NaN metric for the best one, whether best_mode
# is "max" or "min". With max_to_keep=1 it then deletes the good checkpoint: a run whose loss becomes
# NaN keeps only the checkpoint that is useless. A later finite metric does not bring it back.
# Expected: NaN is never better than a number, as in numpy.nanmin, or an error.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check orbax-checkpoint==0.12.8 jax==0.10.2 flax==0.12.8
cd "$folder"
JAX_PLATFORMS=cpu "$folder/env/bin/python" - <<'PYTHON'
import platform
import tempfile
from importlib.metadata import version

import numpy as np
import orbax.checkpoint as ocp

print("orbax-checkpoint", version("orbax-checkpoint"), "jax", version("jax"))
print("Python", platform.python_version(), platform.platform())


def train(losses, mode):
    """Saves a checkpoint a loss; returns the best step and the steps that are left."""
    options = ocp.CheckpointManagerOptions(
        max_to_keep=1, best_fn=lambda metrics: metrics["loss"], best_mode=mode
    )
    with tempfile.TemporaryDirectory() as folder:
        with ocp.CheckpointManager(folder, options=options) as manager:
            for step, loss in enumerate(losses, 1):
                state = ocp.args.StandardSave({"x": np.ones(1)})
                manager.save(step, args=state, metrics={"loss": loss})
            manager.wait_until_finished()
            return manager.best_step(), list(manager.all_steps())


nan = float("nan")
for mode in ("min", "max"):
    best, kept = train([1.0, 2.0, nan], mode)
    print(f"best_mode={mode!r}, metrics 1.0, 2.0, nan: best step {best}, kept {kept}")
    assert (best, kept) == (3, [3]), "changed: NaN is no longer the best"
best, kept = train([1.0, nan, 2.0], "min")
print(f"best_mode=\"min\", metrics 1.0, nan, 2.0: best step {best}, kept {kept}")
assert kept == [3], "changed: the checkpoint with metric 1.0 is kept"
PYTHON
