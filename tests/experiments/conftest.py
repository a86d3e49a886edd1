"""A trained run for programs to read."""

import pytest

from tests.tiny_run import tiny_run


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return tiny_run(tmp_path_factory)
