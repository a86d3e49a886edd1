"""Puts the pages outside of docs/ on the site, with links that hold there."""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
# Page of the site: its file in the repository.
OUTSIDE = {
    "index.md": "README.md",
    "workspace.md": "WORKSPACE.md",
    "changelog.md": "CHANGELOG.md",
    "experiments.md": "experiments/README.md",
    "benchmark_files.md": "benchmarks/README.md",
    "findings.md": "findings/README.md",
}
LINK = re.compile(r"(!?\[(?:[^\[\]]|!\[[^\]]*\]\([^)]*\))*\])\(([^)\s]+)\)")


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages from outside of docs/."""
    for page, source in OUTSIDE.items():
        if (ROOT / source).exists():
            text = (ROOT / source).read_text(encoding="utf-8")
            if page == "index.md":  # the only page of its section
                text = f"---\nhide: [navigation]\n---\n{text}"
            files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Rewrites links between files of the repository as links between pages."""
    here = page.file.src_uri
    source = OUTSIDE.get(here, f"docs/{here}")
    return LINK.sub(lambda link: _rewritten(link, source, here), markdown)


def _rewritten(link: re.Match[str], source: str, here: str) -> str:
    start = link[1].index("[") + 1  # an image may stand in a link
    inner = LINK.sub(lambda inner: _rewritten(inner, source, here), link[1][start:-1])
    label = f"{link[1][:start]}{inner}]"
    target, hash_sign, anchor = link[2].partition("#")
    if "://" in target or not target:
        return f"{label}({link[2]})"
    place = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    pages = {file: page for page, file in OUTSIDE.items()}
    page = pages.get(place, place.removeprefix("docs/"))
    if place not in pages and not place.startswith("docs/"):
        return inner  # not on the site
    if page.endswith(".ipynb"):
        return inner
    relative = posixpath.relpath(page, posixpath.dirname(here) or ".")
    return f"{label}({relative}{hash_sign}{anchor})"
