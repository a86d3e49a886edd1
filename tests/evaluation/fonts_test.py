import pytest
from fontTools import ttLib
from matplotlib import font_manager

from attention_jax.evaluation import fonts

CHINESE = "2024年3月5日星期二，上午十点；三个月前：12.5公里和法国（约等于）"


@pytest.fixture
def bundled_only(monkeypatch):
    """What a machine without any font of its own finds."""
    monkeypatch.setattr(fonts, "_system_families", list)


def characters_of(family):
    path = font_manager.findfont(family, fallback_to_default=False)
    with ttLib.TTFont(path) as font:
        return {
            chr(code)
            for table in font["cmap"].tables
            if table.isUnicode()
            for code in table.cmap
        }


def test_chinese_is_covered_by_the_package_that_comes_along():
    letters = fonts.lettering([CHINESE])
    assert letters.missing == frozenset()
    assert letters.families == ("Noto Sans SC",)
    assert set(CHINESE) <= characters_of("Noto Sans SC")


@pytest.mark.parametrize("text", ["Łódź", "שלום 你好", "Привет, 世界 ₸"])
def test_every_character_is_in_one_of_the_families(text):
    letters = fonts.lettering([text])
    covered = set().union(*map(characters_of, letters.families))
    assert set(text) - {" "} <= covered
    assert letters.missing == frozenset()
    assert letters.families[0] == "Noto Sans SC"
    assert letters.spell(text) == text


def test_further_families_are_asked_only_for_what_is_left(monkeypatch):
    asked = []
    tables = {"A": {"a", " ", "␣"}, "B": {"c"}, "C": {"b", "a"}, "D": {"z"}}

    def characters(family):
        asked.append(family)
        return frozenset(tables[family])

    monkeypatch.setattr(fonts, "_families", lambda: iter("ABCD"))
    monkeypatch.setattr(fonts, "_characters", characters)
    assert fonts.lettering(["ab"]).families == ("A", "C")
    assert asked == ["A", "B", "C"]


def test_a_character_that_no_font_draws_is_spelt_out(bundled_only):
    letters = fonts.lettering(["好🙂", "한"])
    assert letters.missing == {"🙂", "한"}
    assert letters.spell("好🙂") == "好[U+1F642]"
    assert fonts.lettering(["한국어말글"]).note().endswith("and 2 more.")
    assert fonts.lettering(["\x07"]).families == ("Noto Sans SC",)
    note = letters.note()
    assert "U+1F642 (SLIGHTLY SMILING FACE)" in note and "U+D55C" in note


def test_control_and_format_characters_are_never_drawn():
    letters = fonts.lettering(["a\x07\u200d\U0010fffd"])
    assert letters.missing == {"\x07", "\u200d", "\U0010fffd"}
    assert letters.spell("a\x07") == "a[U+0007]"


def test_white_space_is_visible_alone_and_plain_within():
    letters = fonts.lettering(["9:30\u202fPM", "\u3000"])
    assert letters.missing == frozenset()
    assert letters.spell("9:30\u202fPM") == "9:30 PM"
    assert letters.spell("\u3000") == "␣"
    assert letters.spell("") == ""


def test_fonts_that_draw_boxes_or_pieces_are_left_out():
    families = fonts._families()
    installed = {entry.name for entry in font_manager.fontManager.ttflist}
    assert {"cmsy10", "Last Resort High-Efficiency", "STIXNonUnicode"} <= installed
    assert not {name for name in families if name.startswith(("cm", "Last", "STIXNon"))}
    assert len(set(families)) == len(families)
    for name in ("Noto Color Emoji", "NotoColorEmoji", "Last Resort", "cmr10"):
        assert fonts._UNFIT.match(name)
    for name in ("cmu serif", "Noto Emoji", "STIXGeneral", "Arial"):
        assert not fonts._UNFIT.match(name)


def test_a_broken_font_covers_nothing(monkeypatch, tmp_path):
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"no font at all")
    monkeypatch.setattr(font_manager, "findfont", lambda *a, **k: str(broken))
    assert fonts._characters("a family that is broken") == frozenset()
    assert fonts._characters.__wrapped__("DejaVu Sans") == frozenset()
    fonts._characters.cache_clear()
