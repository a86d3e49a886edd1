import io
import json
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.evaluation.attention_files import (
    FORMAT,
    SentenceRecord,
    load_attention,
    save_attention,
)

FACTS = {"seed": 0, "device": "cpu x1"}


def made(target, source, text="我们 🙂 </script>"):
    rng = np.random.default_rng(target * 10 + source)
    return SentenceRecord(
        text,
        "we\ngo",
        tuple(f"s{i}" for i in range(source)),
        tuple(f"t{i}" for i in range(target)),
        rng.uniform(size=(target, source)).astype(np.float32),
        rng.uniform(size=source).astype(np.float32),
        -1.25,
    )


SENTENCES = [made(2, 3), made(0, 4), made(0, 0, ""), made(5, 1), made(1, 2)]


@pytest.mark.parametrize("suffix", [".npz", ".json"])
@pytest.mark.parametrize("sentences", [SENTENCES, []], ids=["some", "none"])
def test_what_is_saved_comes_back_bit_for_bit(suffix, sentences, tmp_path):
    path = tmp_path / f"a{suffix}"
    save_attention(path, sentences, facts=FACTS)
    found = load_attention(path)
    assert found.facts == FACTS
    assert len(found.sentences) == len(sentences)
    for one, other in zip(found.sentences, sentences, strict=True):
        assert one[:4] == other[:4] and one.log_prob == other.log_prob
        for name in ("weights", "end_weights"):
            assert getattr(one, name).dtype == np.float32
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_the_same_sentences_make_the_same_file(suffix, tmp_path):
    for name in ("a", "b"):
        save_attention(tmp_path / f"{name}{suffix}", SENTENCES)
    one, other = (tmp_path / f"{name}{suffix}" for name in ("a", "b"))
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_a_file_cut_anywhere_is_refused_by_name(suffix, tmp_path):
    path = tmp_path / f"cut{suffix}"
    save_attention(path, SENTENCES)
    whole = path.read_bytes()
    for length in range(0, len(whole) - 2, max(1, len(whole) // 60)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="cut.* is damaged or no attention file"):
            load_attention(path)


def test_a_changed_byte_is_refused_or_changes_nothing(tmp_path):
    path = tmp_path / "a.npz"
    save_attention(path, SENTENCES)
    whole = path.read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 80)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 8]) + whole[place + 1 :])
        try:
            found = load_attention(path)
        except ValueError as error:
            assert "a.npz is damaged" in str(error)
        else:
            for one, other in zip(found.sentences, SENTENCES, strict=True):
                np.testing.assert_array_equal(one.weights, other.weights)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda header: header.update(format="other 2"), "format must be"),
        (lambda header: header.pop("facts"), "no 'facts'"),
        (lambda header: header.update(sentences={}), "sentences has a value"),
        (lambda header: header["sentences"][0].pop("weights"), "no 'weights'"),
        (lambda header: header["sentences"][0].update(source=1), "source has a value"),
        (
            lambda header: header["sentences"][0].update(source_tokens=["a"]),
            r"sentence 1: weights must be \[2, 1\]",
        ),
        (
            lambda header: header["sentences"][0].update(target_tokens=[1, 2]),
            "target_tokens must be text, got 1",
        ),
        (lambda header: header["sentences"][0].update(log_prob=None), "log_prob has"),
        (lambda header: header["sentences"][0].update(log_prob=True), "log_prob has"),
        (lambda header: header["sentences"][0].update(log_prob=10**400), "too large"),
        (
            lambda header: header["sentences"][4].update(weights=[["1", "2"]]),
            "weights must be real numbers",
        ),
    ],
)
def test_a_json_file_of_other_contents(change, message, tmp_path):
    path = tmp_path / "a.json"
    save_attention(path, SENTENCES)
    header = json.loads(path.read_text("utf-8"))
    change(header)
    path.write_text(json.dumps(header), "utf-8")
    with pytest.raises(ValueError, match=message):
        load_attention(path)


def test_an_npz_of_pickled_objects_is_not_read(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, header=np.array([{"format": FORMAT}], object))
    with pytest.raises(ValueError, match="is damaged or no attention file"):
        load_attention(path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"weights": np.full((2, 3), np.nan)}, "sentence 1: weights must be finite"),
        ({"log_prob": -np.inf}, "log_prob must be finite"),
        ({"end_weights": np.zeros(2)}, r"end_weights must be \[3\]"),
    ],
)
def test_what_could_not_be_read_is_not_written(fields, message, tmp_path):
    path = tmp_path / "a.json"
    with pytest.raises(ValueError, match=message):
        save_attention(path, [SENTENCES[0]._replace(**fields)])
    assert not path.exists()


@pytest.mark.parametrize(
    ("made", "error", "message"),
    [
        ("we", TypeError, "sentence 1 must be a SentenceRecord, got 'we'"),
        (SENTENCES[0]._replace(source=3), TypeError, "source must be text, got 3"),
        (SENTENCES[0]._replace(source="\udc80"), ValueError, "source is no text"),
        (SENTENCES[0]._replace(target_tokens="ab"), TypeError, "words, got 'ab'"),
        (SENTENCES[0]._replace(log_prob=None), TypeError, "log_prob must be real"),
        (SENTENCES[0]._replace(log_prob=np.ones(2)), TypeError, "must be one number"),
        (SENTENCES[0]._replace(source_tokens=None), TypeError, "1: source_tokens must"),
        (
            SENTENCES[0]._replace(weights=[[1], []]),
            ValueError,
            "weights must be an arr",
        ),
        (
            SENTENCES[0]._replace(weights=SENTENCES[0].weights * 1j),
            TypeError,
            "sentence 1: weights must be real numbers",
        ),
    ],
)
def test_records_that_are_none(made, error, message, tmp_path):
    with pytest.raises(error, match=message):
        save_attention(tmp_path / "a.json", [made])


def test_numbers_of_any_width_are_saved(tmp_path):
    for dtype in (jnp.bfloat16, np.float16, np.int8):
        one = made(1, 1)._replace(weights=np.ones((1, 1), dtype), log_prob=np.int32(-1))
        save_attention(tmp_path / "a.json", [one])
        assert load_attention(tmp_path / "a.json").sentences[0].weights == [[1.0]]


def test_facts_are_json(tmp_path):
    with pytest.raises(TypeError, match=r"facts must be a mapping, got \[1\]"):
        save_attention(tmp_path / "a.json", SENTENCES, facts=[1])
    for value in (float("nan"), {1, 2}):
        with pytest.raises(ValueError, match="facts must be JSON values"):
            save_attention(tmp_path / "a.json", SENTENCES, facts={"x": value})


def test_an_array_that_claims_more_than_it_brings(tmp_path):
    path = tmp_path / "a.npz"
    save_attention(path, SENTENCES)
    header = io.BytesIO()
    described = {"descr": "<f4", "fortran_order": False, "shape": (10**12,)}
    np.lib.format.write_array_header_1_0(header, described)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["weights.npy"] = header.getvalue()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(ValueError, match=r"a\.npz .*claims 4,000,000,000,000 bytes"):
        load_attention(path)


def test_a_header_that_python_cannot_read(tmp_path):
    path = tmp_path / "a.npz"
    save_attention(path, SENTENCES)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["shapes.npy"] = members["shapes.npy"].replace(b"), }", b"), {")
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(ValueError, match=r"a\.npz is damaged"):
        load_attention(path)


def test_an_array_of_gigabytes_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    save_attention(path, SENTENCES)
    module = "attention_jax.evaluation.attention_files"
    monkeypatch.setattr(f"{module}._LARGEST", 200)
    # What is not read again is not written.
    with pytest.raises(ValueError, match="header has .* bytes, more than 200"):
        save_attention(tmp_path / "b.npz", SENTENCES)
    monkeypatch.setattr(f"{module}._ARRAY_HEADER", 0)
    with pytest.raises(ValueError, match="header has .* bytes, more than 200"):
        load_attention(path)


def test_another_suffix(tmp_path):
    for call in (load_attention, lambda path: save_attention(path, [])):
        with pytest.raises(ValueError, match=r"ends in \.npz or \.json"):
            call(tmp_path / "a.csv")
