"""The path of one call: how many of our files it enters, and how often it changes files."""

import pathlib
import sys

import jax
import numpy as np
import pytest

import attention_jax as aj

PACKAGE = str(pathlib.Path(aj.__file__).parent)


def walk(function) -> tuple[set[str], int, list[str]]:
    """The files of ours that a call enters, the moves between them, and each move.

    A move is a call of a function in another of our files than the innermost of ours that is
    running; what happens in libraries in between does not count.
    """
    files: set[str] = set()
    moves: list[str] = []
    stack: list[str] = []

    def watch(frame, event, _):
        file = frame.f_code.co_filename
        if not file.startswith(PACKAGE):
            return
        name = str(pathlib.Path(file).relative_to(PACKAGE))
        if event == "call":
            if not stack or stack[-1] != name:
                moves.append(f"{name}:{frame.f_code.co_name}")
            files.add(name)
            stack.append(name)
        elif event == "return":
            stack.pop()

    sys.setprofile(watch)
    try:
        function()
    finally:
        sys.setprofile(None)
    return files, len(moves), moves


@pytest.fixture
def operands():
    # What JAX itself looks for when it starts is not on the path.
    jax.block_until_ready(jax.jit(lambda x: x + 1)(1.0))
    jax.clear_caches()
    rng = np.random.default_rng(0)
    return [rng.normal(size=(2, n, 4)).astype(np.float32) for n in (3, 5, 5)]


def test_a_query_goes_from_attention_to_the_result_in_a_handful_of_files(operands):
    files, moves, path = walk(lambda: aj.attention(*operands))
    assert len(files) <= 10, sorted(files)
    assert moves <= 30, path
    files, moves, path = walk(lambda: aj.attention(*operands))
    assert len(files) <= 5, sorted(files)
    assert moves <= 10, path
