import dataclasses
import json
import shutil

import numpy as np
import pytest

from attention_jax.data.sources import load_splits
from attention_jax.data.splits import split_hash
from attention_jax.evaluation import evaluate
from attention_jax.evaluation.attention_statistics import attention_statistics
from attention_jax.evaluation.tables import evaluation_rows
from attention_jax.run import load_run
from attention_jax.training.run_directory import ChangedRunError, RunDirectory
from tests.tiny_run import tiny_config, tiny_run


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return RunDirectory(tiny_run(tmp_path_factory))


@pytest.fixture(scope="module")
def run(directory):
    return load_run(directory.path)


@pytest.fixture(scope="module")
def pairs(directory):
    return evaluate.load_split(directory, "test")


@pytest.fixture(scope="module")
def evaluation(run, pairs):
    return evaluate.evaluate(run, pairs)


def score(evaluation, name):
    [metric] = [metric for metric in evaluation.metrics if metric.name == name]
    return metric.score


def test_the_run_has_learnt_its_task(evaluation):
    assert score(evaluation, "exact match") > 80
    assert score(evaluation, "BLEU") > 80
    assert evaluation.alignment["all_words"]["share"] > 0.8
    assert evaluation.alignment["all_words"]["chance"] < 0.5


def test_the_figures_are_those_of_the_translations(evaluation, run, pairs):
    texts = [translation.text for translation in evaluation.translations]
    assert texts == run.translate([pair.source for pair in pairs])
    right = [text == pair.target for text, pair in zip(texts, pairs, strict=True)]
    assert score(evaluation, "exact match") == pytest.approx(100 * sum(right) / 40)
    assert evaluation.alignment["phrases"] == sum(right)
    # Every word of a reversed phrase has its one link.
    words = [
        len(p.target.split()) for p, good in zip(pairs, right, strict=True) if good
    ]
    assert evaluation.alignment["all_words"]["words"] == sum(words)


def test_only_exactly_translated_phrases_count_for_alignment(run, pairs):
    wrong = [
        dataclasses.replace(pair, target=pair.target + " and more", links=pair.links)
        for pair in pairs[:6]
    ]
    evaluation = evaluate.evaluate(run, wrong)
    assert score(evaluation, "exact match") == 0
    assert evaluation.alignment is not None
    assert evaluation.alignment["phrases"] == 0
    assert evaluation.alignment["all_words"]["share"] is None


def test_pairs_without_links_have_no_alignment(run, pairs):
    plain = [dataclasses.replace(pair, links=()) for pair in pairs[:3]]
    assert evaluate.evaluate(run, plain).alignment is None


def test_the_figures_are_json(evaluation, directory, run):
    facts = evaluate.provenance(directory, run)
    text = json.dumps({**evaluation.to_dict(), **facts}, allow_nan=False)
    read = json.loads(text)
    assert read["sentences"] == 40
    assert read["alignment"]["all_words"]["share"] > 0.8
    assert read["seed"] == 0
    assert read["split_hash"] == split_hash(load_splits(tiny_config().data))
    assert {"versions", "device", "commit", "model", "training"} <= set(read)
    assert str(directory.path) not in text


def test_the_splits_of_a_run(directory):
    splits = load_splits(tiny_config().data)
    for name in evaluate.SPLITS:
        assert evaluate.load_split(directory, name) == getattr(splits, name)
    assert evaluate.load_split(directory, "dev", max_sentences=3) == splits.dev[:3]


def test_a_split_that_there_is_not(directory):
    with pytest.raises(ValueError, match="split must be one of test, dev, train"):
        evaluate.load_split(directory, "valid")


def test_data_that_have_changed_are_refused(directory, tmp_path):
    shutil.copytree(directory.path, tmp_path / "run")
    copy = RunDirectory(tmp_path / "run")
    sessions = copy.load_record()["sessions"]
    sessions[-1]["split_hash"] = "0" * 64
    copy.update_record({"sessions": sessions})
    with pytest.raises(
        ChangedRunError, match="begun with other data.* was 000000000000"
    ):
        evaluate.load_split(copy, "test")


def test_attention_is_described_where_there_is_some(evaluation, directory, run):
    facts = evaluate.provenance(directory, run)
    mean = evaluation.attention
    each = [attention_statistics(t.weights) for t in evaluation.translations]
    assert mean.entropy == pytest.approx(np.mean([one.entropy for one in each]))
    # It reverses.
    assert mean.monotonicity < -0.5 and mean.covered > 0.5
    assert evaluation.to_dict()["attention"]["entropy"] == mean.entropy
    by_name = {name: cells for name, *cells in evaluation_rows(evaluation, facts)}
    assert {"BLEU", "chrF2", "seed", "versions", "device"} <= set(by_name)
    exact = score(evaluation, "exact match")
    assert by_name["exact match"][0] == f"{exact:.2f}"
    assert facts["split_hash"] == by_name["split hash"][1]
    hits = evaluation.alignment["all_words"]["hits"]
    assert f"{hits:,} of" in by_name["attention on the linked word"][1]
    assert by_name["attention entropy"][0] == f"{mean.entropy:.2f}"
    assert by_name["monotonicity"][0] == f"{mean.monotonicity:.2f}"
    rate = evaluation.aligned.error_rate
    assert by_name["AER ↓"][0] == f"{rate:.1%}"
    without = dataclasses.replace(evaluation, statistics=(), aligned=None)
    names = {name for name, _, _ in evaluation_rows(without, facts)}
    assert not names & {"attention entropy", "AER ↓"}
    assert without.to_dict()["attention"] is without.to_dict()["aligned"] is None
