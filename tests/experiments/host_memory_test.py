"""Memory that is freed stays with the process."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from experiments.host_memory import keep_freed_memory
if sys.argv[1] == "keep" and not keep_freed_memory():
    print("not granted"); sys.exit()
import threading
import numpy as np

def faults_of_64_mib():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(8 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

found = []
def work():
    found.extend(faults_of_64_mib() for _ in range(3))
thread = threading.Thread(target=work); thread.start(); thread.join()
print(*found)
"""


def faults(mode):
    command = [sys.executable, "-c", PROGRAM, mode]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    if "not granted" in answer.stdout:
        pytest.skip("this C library has no mallopt")
    return [int(number) for number in answer.stdout.split()]


def test_freed_memory_is_used_again_without_page_faults():
    plain, kept = faults("plain"), faults("keep")
    # 64 MiB are 16,384 pages of 4 KiB, or 32 of 2 MiB where those are handed out.
    assert min(plain) >= 32
    assert kept[0] >= 32
    assert max(kept[1:]) < plain[-1] / 10
