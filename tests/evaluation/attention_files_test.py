import io
import json

import numpy as np
import pytest

from attention_jax.decoding.translate import Translation
from attention_jax.evaluation.attention_files import (
    FORMAT,
    load_attention,
    save_attention,
)

FACTS = {"seed": 0, "device": "cpu x1"}


def made(target, source):
    rng = np.random.default_rng(target * 10 + source)
    return Translation(
        "we\ngo",
        tuple(f"s{i}" for i in range(source)),
        tuple(f"t{i}" for i in range(target)),
        rng.uniform(size=(target, source)).astype(np.float32),
        rng.uniform(size=source).astype(np.float32),
        -1.25,
        -1.25,
    )


TRANSLATIONS = [made(2, 3), made(0, 4), made(0, 0), made(5, 1), made(1, 2)]
SOURCES = ["我们 🙂 </script>", "b", "", "d", "e"]


@pytest.mark.parametrize("number", [5, 0])
def test_what_is_saved_comes_back_bit_for_bit(number, tmp_path):
    path = tmp_path / "a.npz"
    save_attention(path, SOURCES[:number], TRANSLATIONS[:number], facts=FACTS)
    found = load_attention(path)
    assert found.facts == FACTS
    assert found.sources == tuple(SOURCES[:number])
    for one, other in zip(found.translations, TRANSLATIONS[:number], strict=True):
        assert one[:3] == other[:3] and one[5:] == other[5:]
        for name in ("weights", "end_weights"):
            assert getattr(one, name).dtype == np.float32
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    # The same sentences make the same file.
    before = path.read_bytes()
    save_attention(path, SOURCES[:number], TRANSLATIONS[:number], facts=FACTS)
    assert path.read_bytes() == before


def test_a_file_cut_anywhere_is_refused_by_name(tmp_path):
    path = tmp_path / "cut.npz"
    save_attention(path, SOURCES, TRANSLATIONS)
    data = path.read_bytes()
    for length in range(0, len(data) - 2, max(1, len(data) // 60)):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match="cut.* is damaged or not an attention"):
            load_attention(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda header: header.update(format="other 2"), "format must be"),
        (lambda header: header.pop("facts"), "no 'facts'"),
        (
            lambda header: header["sentences"][0].update(target_tokens=["a"]),
            "must be .1, 3. finite numbers",
        ),
        (lambda header: header["sentences"][0].update(log_prob=None), "not 'NoneType'"),
    ],
)
def test_a_file_of_other_contents(change, message, tmp_path):
    path = tmp_path / "a.npz"
    save_attention(path, SOURCES, TRANSLATIONS)
    with np.load(io.BytesIO(path.read_bytes())) as file:
        arrays = dict(file)
    header = json.loads(bytes(arrays["header"]))
    change(header)
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=f"a.npz is damaged .*{message}"):
        load_attention(path)


def test_an_npz_of_pickled_objects_is_not_read(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, header=np.array([{"format": FORMAT}], object))
    with pytest.raises(ValueError, match="is damaged or not an attention file"):
        load_attention(path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"weights": np.full((2, 3), np.nan)},
            r"weights of .* must be \[2, 3\] finite",
        ),
        ({"log_prob": -np.inf}, "JSON compliant"),
        ({"end_weights": np.zeros(2)}, r"end_weights of .* must be \[3\]"),
    ],
)
def test_what_could_not_be_read_is_not_written(fields, message, tmp_path):
    path = tmp_path / "a.npz"
    with pytest.raises(ValueError, match=message):
        save_attention(path, SOURCES[:1], [TRANSLATIONS[0]._replace(**fields)])
    with pytest.raises(ValueError, match=r"zip\(\) argument 2 is shorter"):
        save_attention(path, SOURCES, TRANSLATIONS[:1])
    assert not path.exists()
    with pytest.raises(ValueError, match=r"ends in \.npz, got"):
        save_attention(tmp_path / "a.json", [], [])
