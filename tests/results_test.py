"""What the pages say of results is what the JSON files say."""

import json
import re
import statistics

import pytest

from tests.markdown import ROOT

RESULTS = sorted((ROOT / "experiments/results").glob("*.json"))
STEPS = ROOT / "benchmarks/results/training/scores_2cores.json"
PAGE = (ROOT / "experiments/README.md").read_text(encoding="utf-8")


def row(*cells) -> str:
    return f"| {' | '.join(cells)} |"


def metrics(result) -> list[str]:
    return [f"{metric['score']:.1f}" for metric in result["metrics"]]


def systems(path) -> list[dict]:
    """The runs that the file is about: one, or those of a comparison."""
    result = json.loads(path.read_text(encoding="utf-8"))
    return result.get("systems", [result])


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_each_result_is_a_row_of_the_page(path):
    rows = [line for line in PAGE.splitlines() if f"`{path.name}`" in line]
    for line, result in zip(rows, systems(path), strict=True):
        expected = metrics(result)
        for words in ("all_words", "words_without_digits"):
            if result.get("alignment"):
                expected.append(f"{100 * result['alignment'][words]['share']:.1f}")
        cells = line.split(f"`{path.name}`")[0]
        numbers = re.findall(r"(?<![\w.])\d+\.\d(?!\d)", cells)
        assert numbers[: len(expected)] == expected
        assert len(rows) == 1 or f"`{result['name']}`" in line


COMPARISONS = [path for path in RESULTS if "estimates" in json.loads(path.read_text())]


@pytest.mark.parametrize("path", COMPARISONS, ids=lambda path: path.stem)
def test_p_values_and_lengths_are_on_the_page(path):
    result = json.loads(path.read_text(encoding="utf-8"))
    for name in (one["name"] for one in result["systems"][1:]):
        tested = [e["p_value"] for e in result["estimates"] if e["system"] == name]
        assert row(", ".join(f"{p:.4f}" for p in tested), f"`{path.name}`") in PAGE
    for found in result["by_length"]:
        cells = [f"{found['shortest']}–{found['longest']}", str(found["sentences"])]
        cells += [f"{e['score']:.1f} ± {e['half_width']:.1f}" for e in found["bleu"]]
        assert row(*cells) in PAGE


@pytest.mark.parametrize("page", ["README.md", "experiments/README.md", "WORKSPACE.md"])
def test_links_and_images_exist_and_nothing_is_left_to_fill_in(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert not re.findall(
        r"\b[A-Z]{3,}_(?:MINUTES|TABLE)\b|^RESULTS$", text, re.MULTILINE
    )
    folder = (ROOT / page).parent
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in target:
            assert (folder / target).exists(), f"{page} links to {target}"


def test_alignment_error_rates_are_on_the_page():
    """Of each run of the comparison of wirings, with the query of this step and the next."""
    count, folder = 0, ROOT / "experiments/results/alignment"
    for path in folder.glob("*_shift0.json"):
        source = path.stem.split("_")[0]
        next_step = systems(folder / f"{source}_shift1.json")
        for one, other in zip(systems(path), next_step, strict=True):
            assert one["name"] == other["name"]
            exact = {m["name"]: m["score"] for m in one["metrics"]}["exact match"]
            rates = [one["aligned"][n] for n in ("error_rate", "precision", "recall")]
            rates.append(other["aligned"]["error_rate"])
            names = (source, one["model"]["attention"], one["model"]["score"])
            cells = [f"`{name}`" for name in names] + [f"{exact:.1f}"]
            assert row(*cells, *(f"{100 * rate:.1f}" for rate in rates)) in PAGE
            count += 1
    assert count == 18


def sweep(name: str) -> list[dict]:
    file = ROOT / f"experiments/results/sweeps/{name}.json"
    results = json.loads(file.read_text("utf-8"))
    assert results["complete"]
    return results["runs"]


def test_the_seeds_and_their_mean_are_on_the_page():
    runs = sweep("tatoeba_zh_en_long")
    for run in runs:
        cells = (f"`{run['name']}`", f"{run['parameters']:,}", *metrics(run))
        assert row(*cells) in PAGE
    columns = zip(*([m["score"] for m in run["metrics"]] for run in runs), strict=True)
    means = [
        f"{statistics.fmean(found):.1f} ± {statistics.stdev(found):.1f}"
        for found in columns
    ]
    assert row("mean ± standard deviation", "", *means).replace("  ", " ") in PAGE
    for page in ("README.md", "configs/tatoeba_zh_en_long.py"):
        assert f"{means[0]} BLEU" in (ROOT / page).read_text("utf-8")


def test_every_score_is_in_the_comparisons_table():
    steps = json.loads(STEPS.read_text("utf-8"))["scores"]
    for run in sweep("compare_scores"):
        model = run["model"]
        score = "none" if model["attention"] == "none" else model["score"]
        cells = (f"`{run['name']}`", f"{run['parameters']:,}", *metrics(run))
        assert row(*cells, f"{steps[score]['ratio']:.2f}") in PAGE
