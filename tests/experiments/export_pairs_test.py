import pytest

from attention_jax.data.sources import load_splits
from experiments import cli, export_pairs
from experiments.config_flags import load_config

CONFIG = """
from attention_jax.config import *

def get_config():
    return ExperimentConfig(
        data=DataConfig(source="synthetic", task="reverse", source_tokenizer="words",
                        min_length=1, max_length=6, symbols=9, num_pairs=60,
                        num_dev=7, num_test=5, max_source_length=4),
    )
"""


@pytest.fixture(scope="module")
def config_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("configs") / "pairs.py"
    path.write_text(CONFIG)
    return path


def export(config, output):
    return cli.run(
        export_pairs.main,
        export_pairs.define_flags,
        config=True,
        required=("output",),
        argv=["export_pairs", f"--config={config}", f"--output={output}"],
    )


def test_files_hold_the_pairs_token_by_token(config_file, tmp_path, capsys):
    assert export(config_file, tmp_path / "pairs") == 0
    splits = load_splits(load_config(str(config_file)).data)

    def lines(name):
        return (tmp_path / "pairs" / name).read_text().splitlines()

    assert lines("test.source") == [pair.source for pair in splits.test]
    assert lines("dev.target") == [pair.target for pair in splits.dev]
    kept = [p.target for p in splits.train if len(p.source.split()) <= 4]
    assert 0 < len(kept) < len(splits.train)
    assert lines("train.target") == kept
    words = {word for pair in splits.train for word in pair.source.split()}
    assert words == set(lines("vocab.source"))
    assert f"train: {len(kept)} pairs" in capsys.readouterr().out


def test_a_file_in_the_way_is_one_line(config_file, tmp_path, capsys):
    (tmp_path / "pairs").write_text("")
    assert export(config_file, tmp_path / "pairs") == 2
    err = capsys.readouterr().err
    assert "is a file, and should be a folder" in err and err.count("\n") == 1


def test_the_data_itself_is_not_replaced(tmp_path, capsys):
    folder = tmp_path / "own"
    folder.mkdir()
    for side in ("source", "target"):
        (folder / f"train.{side}").write_text("ba bi\nbo ba\n" * 20)
    before = (folder / "train.target").read_text()
    config = tmp_path / "text.py"
    config.write_text(
        "from attention_jax.config import *\n\n\ndef get_config():\n"
        "    return ExperimentConfig(data=DataConfig(source='text', num_pairs=0, "
        f"path={str(folder / 'train.source')!r}, num_dev=1, num_test=1, "
        f"target_path={str(folder / 'train.target')!r}))\n"
    )
    assert export(config, folder) == 2
    err = capsys.readouterr().err
    assert "--config.data.path and --output=" in err and err.count("\n") == 1
    assert (folder / "train.target").read_text() == before
