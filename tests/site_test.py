"""The site: every public name is in the API reference, every page in its navigation."""

import re
import types

import yaml

import attention_jax as aj
from attention_jax import masks
from tests.markdown import ROOT

API = {path.name: path.read_text("utf-8") for path in (ROOT / "docs/api").glob("*.md")}


def test_every_public_name_is_in_the_reference_once():
    listed = re.findall(
        r"^::: attention_jax\.(?:\w+\.)*(\w+)$", "\n".join(API.values()), re.MULTILINE
    )
    public = set(aj.__all__) - {"masks"}
    public |= {
        name
        for name, value in vars(masks).items()
        if isinstance(value, types.FunctionType)
        and value.__module__ == masks.__name__
        and not name.startswith("_")
        and name not in ("as_mask", "dense", "wide")
    }
    missing = public - set(listed)
    assert not missing, (
        f"docs/api/*.md need a `::: attention_jax...` line for {missing}"
    )
    assert sorted(listed) == sorted(set(listed))


def test_every_page_is_in_the_navigation():
    # Material's own tags are not needed for the navigation.
    text = (ROOT / "mkdocs.yml").read_text("utf-8")
    nav = str(yaml.safe_load(text)["nav"])
    for path in (ROOT / "docs").rglob("*.md"):
        assert str(path.relative_to(ROOT / "docs")) in nav
