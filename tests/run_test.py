import dataclasses
import shutil

import jax
import numpy as np
import pytest

from attention_jax.config import DecodingConfig
from attention_jax.data.codec import EOS, UNK
from attention_jax.data.pairs import Pair
from attention_jax.decoding.base import make_request
from attention_jax.run import load_run
from attention_jax.training.checkpoints import Checkpoints
from attention_jax.training.optimizer import make_optimizer
from attention_jax.training.run_directory import RunDirectory
from attention_jax.training.step import init_state
from tests.tiny_run import tiny_run
from tests.tolerances import assert_close


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return tiny_run(tmp_path_factory)


@pytest.fixture(scope="module")
def run(workdir):
    return load_run(workdir)


@pytest.fixture(scope="module")
def words(run):
    return [word for word in run.source_codec.vocabulary.tokens if word[0] != "<"]


@pytest.fixture(scope="module")
def sentences(words):
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(words, rng.integers(1, 20))) for _ in range(30)]


def decoding(run, **changes):
    config = dataclasses.replace(run.config, decoding=DecodingConfig(**changes))
    return dataclasses.replace(run, config=config)


def test_a_learnt_task_is_done(run, words):
    assert run.translate([" ".join(words[:3])]) == [" ".join(reversed(words[:3]))]


def test_order_is_kept_and_blank_sentences_stay_blank(run, sentences):
    given = ["", *sentences[:5], "  \t ", sentences[0], "\u3000"]
    texts = run.translate(given)
    assert len(texts) == len(given)
    assert [bool(text) for text in texts] == [bool(text.strip()) for text in given]
    assert texts[1] == texts[7] == run.translate([sentences[0]])[0]
    assert run.translate([]) == run.translate(["", ""])[2:] == []


def test_a_translation_does_not_depend_on_the_others(run, sentences):
    together = run.decode(sentences)
    for index in (0, 7, 29):
        [alone] = run.decode([sentences[index]])
        assert alone.text == together[index].text
        np.testing.assert_array_equal(alone.weights, together[index].weights)
    backwards = run.decode(sentences[::-1])[::-1]
    for one, other in zip(together, backwards, strict=True):
        assert one[:3] == other[:3]
        np.testing.assert_array_equal(one.weights, other.weights)


def test_few_shapes_are_compiled(run, sentences, monkeypatch):
    shapes = []

    def record(source, lengths, **options):
        shapes.append((source.shape, options["max_length"], options["slots"]))
        return make_request(source, lengths, **options)

    monkeypatch.setattr("attention_jax.decoding.translate.make_request", record)
    run.translate(sentences * 7)
    assert len(shapes) == 6 and len(set(shapes)) == 3
    # Eight times as many sentences as are translated at a time, which are 8 here; 4 of
    # the longest.
    assert {(shape, slots) for shape, _, slots in shapes} == {
        ((64, 8), 8),
        ((64, 16), 8),
        ((32, 32), 4),
    }
    shapes.clear()
    assert run.compile(sentences) == len(shapes) == len(set(shapes)) == 3
    assert run.compile([]) == 0


def test_forcing_a_translation_gives_what_the_search_found(run, sentences):
    found = run.decode(sentences)
    pairs = [Pair(s, one.text) for s, one in zip(sentences, found, strict=True)]
    for one, forced in zip(
        found, run.force([*pairs, Pair("", "ba")])[:-1], strict=True
    ):
        assert forced[:3] == one[:3]
        assert_close(forced.weights, one.weights)
        assert_close(forced.end_weights, one.end_weights)
        np.testing.assert_allclose(forced.log_prob, one.log_prob, atol=1e-4)
        assert one.score == one.log_prob <= 0
    assert run.force([]) == []


def test_n_best(run, sentences):
    beam = run.with_decoding(search="beam", beam_size=4, length_penalty="gnmt")
    found = beam.decode_n_best([*sentences[:4], ""], 3)
    for bests in found[:4]:
        assert len({one.target_tokens for one in bests}) == len(bests) == 3
        scores = [one.score for one in bests]
        assert scores == sorted(scores, reverse=True)
        assert bests[0].score > bests[0].log_prob
    assert [one.text for one in found[4]] == [""]
    assert beam.translate(sentences[:1]) == [found[0][0].text]
    with pytest.raises(ValueError, match="n_best .* at most 4 with search beam, got 5"):
        beam.decode_n_best(["ba"], 5)
    with pytest.raises(ValueError, match="n_best .* at most 1 with search greedy"):
        run.decode_n_best(["ba"], 2)
    with pytest.raises(ValueError, match="n_best must be at least 1"):
        run.decode_n_best(["ba"], 0)


def test_samples_are_drawn_by_number(run, words):
    sample = run.with_decoding(search="sample", temperature=5.0, sample_seed=3)
    source = " ".join(words[:3])
    [together] = sample.decode_n_best([source], 5)
    assert len({one.text for one in together}) > 1
    later = sample.decode_n_best([source, source], 5, first_id=7)
    assert later[0] != later[1]
    texts = [one.text for one in sample.decode_n_best([source], 5, first_id=8)[0]]
    assert texts == [one.text for one in later[1]]


def test_unknown_words_are_replaced_by_what_attention_points_to(run, words):
    """Without a word for it in its vocabulary, the run says <unk> where it looks at one."""
    params = jax.tree.map(lambda x: x, run.params)
    bias = params["decoder"]["projection_bias"]
    params["decoder"]["projection_bias"] = bias.at[UNK].add(1e4)
    unsure = dataclasses.replace(run, params=params)
    unsure = unsure.with_decoding(max_length_ratio=1.0, max_length_offset=0)
    source = " ".join(words[:3])
    [plain] = unsure.decode([source])
    assert plain.text == "<unk> <unk> <unk>"
    [replaced] = unsure.with_decoding(replace_unknown=True).decode([source])
    expected = [plain.source_tokens[s] for s in plain.weights.argmax(axis=1)]
    assert replaced.target_tokens == tuple(expected)
    assert replaced.text == " ".join(expected)


def test_a_field_about_a_search_implies_it(run):
    assert run.with_decoding(beam_size=3).config.decoding.search == "beam"
    sample = run.with_decoding(temperature=2.0)
    assert sample.config.decoding.search == "sample"
    assert sample.with_decoding(length_alpha=0.5).config.decoding.search == "beam"
    assert sample.with_decoding(batch_size=3).config.decoding.search == "sample"
    whole = dataclasses.replace(sample.config.decoding, search="beam")
    copied = run.with_decoding(**dataclasses.asdict(whole))
    assert copied.config.decoding == whole
    for fields in (
        {"search": "greedy", "beam_size": 3},
        {"length_alpha": 0.6, "temperature": 2.0},
    ):
        with pytest.raises(ValueError, match="is about search .*, but the search is"):
            run.with_decoding(**fields)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda run: run.decode_n_best(["ba"], "1"), "n_best must be an integer"),
        (lambda run: run.decode(["ba"], first_id=1.5), "first_id must be an integer"),
        (lambda run: run.translate("ab"), "sequence of strings, got 'ab'"),
        (lambda run: run.translate(["ba", None]), r"strings, got \['ba', None\]"),
        (lambda run: run.longest_sentence(True), "n_best must be an integer"),
    ],
)
def test_arguments_of_another_type(run, call, message):
    with pytest.raises(TypeError, match=message):
        call(run)


def test_ids_count_from_0(run):
    with pytest.raises(ValueError, match="first_id must be at least 0, got -1"):
        run.decode(["ba"], first_id=-1)
    sample = run.with_decoding(temperature=5.0)
    texts = [
        [one.text for one in sample.decode(["ba bi be"] * 4, first_id=number)]
        for number in (5, np.uint8(5), 2**32 + 5)
    ]
    assert texts[0] == texts[1] == texts[2]


@pytest.mark.parametrize("search", ["greedy", "beam", "sample"])
def test_parameters_that_are_not_numbers_are_reported(run, search):
    broken = jax.tree.map(lambda x: x * np.nan, run.params)
    broken = dataclasses.replace(run, params=broken).with_decoding(search=search)
    with pytest.raises(ValueError, match="no translation of 'ba bi' .* not all finite"):
        broken.translate(["ba bi"])


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"search": "bem"}, LookupError, "config.decoding.search: .*'beam'"),
        ({"beam_size": 0}, ValueError, "config.decoding.beam_size must be at least 1"),
        ({"beams": 2}, LookupError, "'beams'. Did you mean 'beam_size'"),
    ],
)
def test_searches_that_cannot_be(run, fields, error, message):
    with pytest.raises(error, match=message):
        run.with_decoding(**fields)


def test_any_words_can_be_forced(run, words):
    """However unlikely, and whether the run knows them or not."""
    source, target, weights = run.attend(" ".join(words[:2]), "unknown " + words[0])
    assert source == tuple(words[:2]) and target == ("unknown", words[0])
    assert weights.shape == (2, 2)
    assert_close(weights.sum(axis=1), np.ones(2))
    right = Pair(" ".join(words[:3]), " ".join(reversed(words[:3])))
    wrong = Pair(right.source, "never seen")
    one, other, nothing = run.force([right, wrong, Pair("", "never")])
    assert one.log_prob > other.log_prob
    assert other.target_tokens == ("never", "seen") and other.weights.shape == (2, 3)
    assert nothing.text == "" and nothing.log_prob == 0
    _, found, weights = run.attend(right.source)
    assert found == one.target_tokens
    assert_close(weights, one.weights)


@pytest.mark.parametrize(
    ("texts", "name"),
    [(("",), "source"), ((" ", "a"), "source"), (("ba", ""), "target")],
)
def test_attending_needs_words(run, texts, name):
    with pytest.raises(ValueError, match=f"{name} has no words"):
        run.attend(*texts)


def test_a_run_without_attention_has_none_to_show(run):
    model = dataclasses.replace(run.config.model, attention="none")
    config = dataclasses.replace(run.config, model=model)
    with pytest.raises(ValueError, match="has no attention to show"):
        dataclasses.replace(run, config=config).attend("ba")


def test_a_translation_of_nothing(run, words):
    # A model that ends every sentence at once.
    def step(params, memory, state, tokens):
        state, logits, weights = run.model.step(params, memory, state, tokens)
        return state, logits.at[:, EOS].set(1e6), weights

    silent = dataclasses.replace(run, model=run.model._replace(step=step))
    assert silent.translate([words[0]]) == [""]
    assert silent.attend(words[0]).weights.shape == (0, 1)


def params_are(run, params):
    same = jax.tree.map(np.array_equal, run.params, params)
    return all(jax.tree.leaves(same))


def test_the_best_and_the_last_checkpoint(run, workdir, tmp_path):
    copy = RunDirectory(tmp_path / "run")
    shutil.copytree(workdir, copy.path)
    shutil.rmtree(copy.checkpoints_path)
    optimizer = make_optimizer(run.config.training)
    states = {}
    with Checkpoints(copy.checkpoints_path) as checkpoints:
        for step, loss in ((9, 2.0), (10, 1.0), (11, 3.0)):
            state = init_state(run.model, optimizer, seed=step)
            states[step] = state._replace(step=state.step + step)
            checkpoints.save(states[step], {}, dev_loss=loss)
    assert params_are(load_run(copy.path), states[10].params)
    assert params_are(load_run(copy.path, checkpoint="last"), states[11].params)
    assert not params_are(load_run(copy.path), states[9].params)
    with pytest.raises(ValueError, match=r"'best', 'last'\), got 'first'"):
        load_run(copy.path, checkpoint="first")


def test_directories_that_hold_no_finished_run(workdir, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no run directory .*nowhere"):
        load_run(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="holds no run"):
        load_run(tmp_path)
    begun = RunDirectory(tmp_path / "begun")
    begun.path.mkdir()
    shutil.copy(workdir / "config.json", begun.config_path)
    with pytest.raises(FileNotFoundError, match="has no codecs.json"):
        load_run(begun.path)
    shutil.copy(workdir / "codecs.json", begun.codecs_path)
    begun.checkpoints_path.mkdir()
    for checkpoint in ("best", "last"):
        with pytest.raises(FileNotFoundError, match="no checkpoint yet"):
            load_run(begun.path, checkpoint=checkpoint)
