"""Each finding is a script of the form that findings/README.md asks for; none is run here."""

import re

import pytest

from tests.markdown import ROOT

SCRIPTS = sorted((ROOT / "findings").glob("*.sh"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_finding_says_what_was_seen_and_runs_pinned_packages_without_us(path):
    text = path.read_text(encoding="utf-8")
    assert re.match(r"#!/usr/bin/env bash\n# \S+ [\d.]+[,:]", text), (
        "version, then words"
    )
    assert "# Expected: " in text
    packages = re.search(r"pip install (?:--\S+ )*(.+)", text)[1].split()
    assert packages and all("==" in package for package in packages)
    assert "attention_jax" not in text
    assert "assert" in text and "set -euo pipefail" in text
    assert path.stat().st_mode & 0o100, "executable"
    page = (ROOT / "findings/README.md").read_text(encoding="utf-8")
    assert f"| `{path.name}` |" in page
