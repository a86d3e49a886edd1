import datetime

import pytest
from babel import dates, lists, numbers, units

from attention_jax.config import DataConfig
from attention_jax.data import build_codecs, cldr, load_splits
from attention_jax.data.cldr import generate_pairs, make_pair, shared_inventory
from attention_jax.data.cldr import rendering as render
from attention_jax.data.cldr.rendering import Piece, assemble, clean, moment
from attention_jax.data.codec import UNK
from attention_jax.data.splits import find_leaks
from attention_jax.errors import UnknownNameError

LOCALES = ["zh", "en", "de", "fr", "ja", "ar", "hi", "ru", "th", "he", "fa", "es", "ko"]
LOCALES += ["pt_BR", "tr", "fi", "cs", "lt", "vi", "zh_Hant"]
every_locale = pytest.mark.parametrize("locale", LOCALES)
DAYS = [datetime.date(1950, 1, 1) + datetime.timedelta(613 * i) for i in range(50)]
MARCH_5 = datetime.date(2024, 3, 5)
CLOCKS = [datetime.time(h, (7 * h) % 60) for h in range(24)]


def plain(text):
    """Babel's text as ours has it: one kind of space, no invisible marks."""
    return " ".join(clean(text).split())


def spelt(phrase):
    return assemble(phrase)[0]


@every_locale
def test_dates_and_times_read_as_babel_writes_them(locale):
    def date(day, style):
        return dates.format_date(day, style, locale=locale)

    def time(clock):
        return dates.format_time(clock, "short", locale=locale)

    for day in DAYS:
        for style in ("full", "long"):
            assert spelt(moment(locale, day, style)) == plain(date(day, style))
        for skeleton in ("yMMMM", "MMMMd"):
            if render.format_fields(locale, skeleton):
                expected = plain(dates.format_skeleton(skeleton, day, locale=locale))
                assert spelt(moment(locale, day, skeleton)) == expected
    for clock in CLOCKS:
        assert spelt(moment(locale, clock, "short")) == plain(time(clock))
    day, clock = DAYS[0], CLOCKS[15]
    pattern = str(dates.get_datetime_format("full", locale=locale)).replace("'", "")
    expected = pattern.replace("{0}", time(clock)).replace("{1}", date(day, "full"))
    both = (moment(locale, day, "full"), moment(locale, clock, "short"))
    assert spelt(render.date_and_time(locale, *both)) == plain(expected)


@every_locale
def test_quantities_read_as_babel_writes_them(locale):
    back = datetime.timedelta(-21)
    found = {
        render.money(locale, 1234.5, "EUR"): numbers.format_currency(
            1234.5, "EUR", locale=locale
        ),
        render.money_in_words(locale, 99, "CNY"): numbers.format_currency(
            99, "CNY", locale=locale, format_type="name", currency_digits=False
        ),
        render.relative(locale, -21, "day"): dates.format_timedelta(
            back, "day", locale=locale, threshold=1e9, add_direction=True
        ),
    }
    for unit in shared_inventory(locale, locale)["units"]:
        for value in (1, 12.5):
            expected = units.format_unit(value, unit, "long", locale=locale)
            found[render.measure(locale, value, unit)] = expected
    for phrase, expected in found.items():
        assert spelt(phrase) == plain(expected)


@every_locale
def test_lists_read_as_babel_writes_them(locale):
    for names in (["A b", "C"], ["A b", "C", "D"]):
        for style in ("standard", "or"):
            items = [(Piece(name, "name"),) for name in names]
            expected = lists.format_list(names, style=style, locale=locale)
            phrase = render.listing(locale, items, style)
            assert spelt(phrase) == plain(expected)
            text, spans = assemble(phrase)
            found = [text[s:e] for label in sorted(spans) for s, e in spans[label]]
            assert found == names


def test_spans_never_begin_or_end_with_white_space():
    pieces = [(" a ", ""), (" b", "x"), ("c ", "x"), ("  ", ""), (" d ", "y")]
    text, spans = assemble(Piece(*piece) for piece in pieces)
    assert text == "a bc d"
    assert spans == {"x": [(2, 4)], "y": [(5, 6)]}


def linked(pair):
    return {(pair.source[a:b], pair.target[c:d]) for a, b, c, d in pair.links}


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        (  # word by word
            [moment(name, MARCH_5, "full") for name in ("zh", "en")],
            "2024年=2024 3月=March 5日=5 星期二=Tuesday",
        ),
        (  # letters that touch a field belong to its word
            [moment(name, MARCH_5, "long") for name in ("en", "he")],
            "March=במרץ 5=5 2024=2024",
        ),
        (  # an afternoon is linked to its hour
            [moment(name, datetime.time(15, 7), "short") for name in ("de", "en")],
            "15=3 15=PM 07=07",
        ),
        (  # a meaning in two spans is linked in both
            [render.relative(name, 3, "day") for name in ("zh", "en")],
            "3=3 天后=in 天后=days",
        ),
    ],
)
def test_parts_with_the_same_meaning_are_linked(pair, expected):
    found = linked(make_pair(*pair))
    assert found == {tuple(link.split("=")) for link in expected.split()}


def test_units_that_a_locale_does_not_name_are_left_out():
    inventory = shared_inventory("zh", "en")  # Babel's text is the code itself
    assert "length-kilometer" not in inventory["units"]
    assert "mass-kilogram" in shared_inventory("de", "en")["units"]
    assert not any("100" in unit for unit in inventory["units"])
    assert "PLN" not in inventory["currency_signs"]
    assert "USD" in inventory["currency_signs"]


def config(**changes):
    small = {"num_pairs": 1_500, "num_dev": 60, "num_test": 80}
    return DataConfig(**{**small, **changes})


@pytest.mark.parametrize(
    "names",
    [
        "zh en characters words",
        "en zh words characters",
        "de ja subwords characters",
        "ar pt-BR words words",
    ],
)
def test_splits_are_disjoint_and_every_held_out_token_is_trained_on(names):
    fields = ("source_language", "target_language")
    fields += ("source_tokenizer", "target_tokenizer")
    settings = config(**dict(zip(fields, names.split(), strict=True)), subwords=700)
    splits = load_splits(settings)
    assert [len(split) for split in splits[:3]] == [1_360, 60, 80]
    assert find_leaks(splits) == []
    source_codec, target_codec = build_codecs(settings, splits.train)
    for pair in splits.dev + splits.test:
        for codec, text in ((source_codec, pair.source), (target_codec, pair.target)):
            ids = codec.encode(text)
            assert UNK not in ids
            assert codec.decode(ids) == text


@pytest.mark.parametrize(
    ("source", "target"), [("zh", "en"), ("en", "he"), ("th", "ru")]
)
def test_pairs_are_clean_distinct_and_linked(source, target):
    def digits(text):
        return "".join(char for char in text if char.isdigit())

    pairs = generate_pairs(source, target, 1_000, seed=1)
    assert len({pair.source for pair in pairs}) == len(pairs) == 1_000
    assert all(pair.links for pair in pairs)
    for pair in pairs:
        for text in (pair.source, pair.target):
            assert text == plain(text) != ""
        for first, second in linked(pair):
            assert first == first.strip() != "" != second == second.strip()
            # Numbers link to numbers, but for AM and PM and 15:07, which is 3:07.
            clock = "M" in second or ":" in pair.target
            if (source, target) == ("zh", "en") and digits(second) and not clock:
                assert digits(first) == digits(second)


def test_generation_depends_on_the_seed_alone():
    pairs = generate_pairs("zh", "en", 500, seed=3)
    assert pairs == generate_pairs("zh", "en", 500, seed=3)
    assert pairs[:200] == generate_pairs("zh", "en", 200, seed=3)
    assert pairs != generate_pairs("zh", "en", 500, seed=4)


def test_an_unknown_locale_names_the_field_and_the_nearest():
    with pytest.raises(UnknownNameError, match=r"data\.target_language.*'enn'.*mean"):
        load_splits(config(target_language="enn"))
    with pytest.raises(UnknownNameError, match=r"data\.source_language.*'Chinese'"):
        load_splits(config(source_language="Chinese"))


def test_a_space_that_is_used_up_is_an_error(monkeypatch):
    def time(drawing):
        return drawing.alone("time_formats")

    monkeypatch.setattr(cldr._Drawing, "meaning", time)
    assert len(generate_pairs("zh", "en", 1_440, seed=0)) == 1_440
    with pytest.raises(ValueError, match="num_pairs must be at most 1440, .* got 1441"):
        generate_pairs("zh", "en", 1_441, seed=0)


def test_fewer_training_pairs_leave_dev_and_test_alone():
    whole, part = load_splits(config()), load_splits(config(num_train=500))
    assert part.train == whole.train[:500]
    assert (part.dev, part.test) == (whole.dev, whole.test)
    with pytest.raises(ValueError, match=r"num_train must be at most 1360.* got 9999"):
        load_splits(config(num_train=9_999))
