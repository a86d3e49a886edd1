"""What is divided among devices: `on_eight_devices.py`, in a process that has eight."""

import os
import pathlib
import subprocess
import sys

import pytest

CASES = pathlib.Path(__file__).with_name("on_eight_devices.py")


@pytest.mark.parametrize(
    "selection", ["not full", pytest.param("full", marks=pytest.mark.full)]
)
def test_on_eight_devices(selection):
    flags = "--xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", selection, str(CASES)],
        cwd=CASES.parents[1],
        env=os.environ | {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flags}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
