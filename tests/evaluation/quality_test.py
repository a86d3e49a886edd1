import pytest

from attention_jax.evaluation.quality import (
    Metric,
    bleu,
    exact_match,
    sentence_chrf,
    translation_quality,
)

HYPOTHESES = [
    "the cat sat on the mat today",
    "he reads a long book about cats",
    "yes we can do that now",
]
REFERENCES = [
    "the cat sat on a mat today",
    "he reads one long book about small cats",
    "yes we can do this right now",
]


def ter(hypotheses, references, **options):
    return translation_quality(hypotheses, references, **options)[3]


def test_ter_cuts_chinese_into_characters():
    found = ter(["今天是星期二上午"], ["今天是星期三上午"], language="zh_Hant")
    assert found.score == pytest.approx(100 / 8)
    assert "norm:yes" in found.signature and "asian:yes" in found.signature
    plain = ter(["今天是星期二上午"], ["今天是星期三上午"], language="en")
    assert plain.score == 100 and "asian:no" in plain.signature


def test_all_of_them():
    found = translation_quality(HYPOTHESES, REFERENCES, language="en", lowercase=True)
    assert [metric.title for metric in found] == [
        "BLEU",
        "chrF2",
        "exact match",
        "TER ↓",
    ]
    assert found[0] == bleu(HYPOTHESES, REFERENCES, language="en", lowercase=True)
    assert all("case:lc" in metric.signature for metric in found)
    assert not found[3].higher_is_better


def test_perfect_translations_score_exactly_100():
    texts = ["a considerably longer sentence , with commas ."] * 7
    found = translation_quality(texts, texts, language="en")
    assert [metric.score for metric in found] == [100, 100, 100, 0]
    assert sentence_chrf(texts, texts) == [100] * 7


@pytest.mark.parametrize("language", ["zh", "zh_Hant", "ZH-cn", "cmn", "yue"])
def test_chinese_is_cut_into_characters(language):
    found = bleu(["今天是星期二上午"], ["今天是星期三上午"], language=language)
    assert "tok:zh" in found.signature
    # 7 of 8 characters; as one word nothing would match.
    assert found.score > 40
    for other in ("en", "de", "zhx", "jax", "ko"):
        assert "tok:13a" in bleu(["a b"], ["a b"], language=other).signature


@pytest.mark.parametrize(
    ("language", "text", "other"),
    [
        ("ja_JP", "私は明日空港へ行きます。", "私は今日空港へ行きます。"),
        ("th", "ฉันไปสนามบินพรุ่งนี้", "ฉันไปสนามบินพรุ่งนี"),
        ("my", "မင်္ဂလာပါကမ္ဘာလောက", "မင်္ဂလာပါကမ္ဘာလော"),
    ],
)
def test_languages_without_spaces_are_cut_into_characters(language, text, other):
    found = bleu([other], [text], language=language)
    assert "tok:char" in found.signature and 60 < found.score < 100
    edits = ter([other], [text], language=language)
    # sacrebleu's edit rate knows Japanese alone.
    assert ("asian:yes" in edits.signature) == (language == "ja_JP")
    assert (edits.score < 20) == (language == "ja_JP")


def test_lower_casing_is_an_option_that_the_signature_names():
    mixed, lower = (
        translation_quality(["A b C d"], ["a B c D"], language="en", lowercase=fold)
        for fold in (False, True)
    )
    assert [metric.score for metric in lower] == [100, 100, 100, 0]
    assert mixed[3].score == 100 and all(metric.score < 100 for metric in mixed[:3])
    assert all("case:lc" in metric.signature for metric in lower)
    assert all("case:mixed" in metric.signature for metric in mixed)


def test_exact_match_ignores_white_space_alone():
    found = exact_match(
        ["a  b ", "9:30 PM", "a,b", ""], ["a b", "9:30\u202fPM", "a, b", ""]
    )
    assert found == Metric(
        "exact match", 75.0, "nrefs:1|case:mixed|whitespace:collapsed"
    )


def test_empty_translations_score_nothing():
    found = translation_quality(["", ""], ["a b c d", "e f g h"], language="en")
    assert [metric.score for metric in found] == [0, 0, 0, 100]


def test_what_cannot_be_scored():
    for hypotheses, references in ((["a"], ["a", "b"]), ([], [])):
        with pytest.raises(ValueError, match="equally many and at least 1, got"):
            translation_quality(hypotheses, references, language="en")
    with pytest.raises(TypeError, match="are sequences of sentences"):
        exact_match(["a"], "a")
