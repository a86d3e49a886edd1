"""A score in a user's own file is an experiment by flag; README's file, word for word."""

import os
import subprocess
import sys

from attention_jax.run import load_run
from tests.markdown import ROOT, blocks

CONFIG = """
from attention_jax.config import *

def get_config():
    return ExperimentConfig(
        data=DataConfig(source="synthetic", source_tokenizer="words", max_length=4,
                        symbols=6, num_pairs=120, num_dev=10, num_test=10, num_buckets=1),
        model=ModelConfig(embedding_size=8, encoder_size=4, decoder_size=6),
        training=TrainingConfig(batch_size=16, steps=2),
    )
"""


def test_a_users_file_trains_and_is_found_again(tmp_path, monkeypatch):
    """From another folder, by a relative path; encoder and decoder sizes differ."""
    (source,) = (b for b in blocks("README.md", "python") if "def bounded" in b)
    (tmp_path / "mine.py").write_text(source, encoding="utf-8")
    (tmp_path / "config.py").write_text(CONFIG, encoding="utf-8")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "experiments.train",
            "--config=config.py",
            "--workdir=run",
            "--config.model.score=mine.py:bounded",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    run = load_run(tmp_path / "run")
    assert run.config.model.score == f"{tmp_path / 'mine.py'}:bounded"
    assert len(run.translate(["a", ""])) == 2
