"""How many sentences a second a run translates, by search; beside other toolkits, in turns."""

import dataclasses
import functools
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from attention_jax.benchmarking.machine import machine_facts
from attention_jax.benchmarking.timing import ratio, round_orders, summarize
from attention_jax.config import DecodingConfig
from attention_jax.run import Run
from attention_jax.training.provenance import versions

SCHEMA = "attention_jax.decoding_benchmark"
OURS = "attention_jax"


class Timed(NamedTuple):
    """One translation of all sentences.

    Attributes:
      seconds: from texts to texts, without starting, loading or compiling.
      words: that were predicted, ends of sentences included.
    """

    seconds: float
    words: int


class Peer(NamedTuple):
    """Another toolkit, with a model of its own.

    Attributes:
      name, version: of the toolkit.
      translate: (tokenised sentences, how to search) -> Timed.
      parameters: how many its model has, as far as it says so.
    """

    name: str
    version: str
    translate: Callable[[Sequence[str], DecodingConfig], Timed]
    parameters: int | None = None


def searches_to_time(
    beam_sizes: Sequence[int], length_alpha: float
) -> dict[str, dict[str, Any]]:
    """Greedy search and, of each beam, one without and one with GNMT's length penalty.

    Returns:
      fields of DecodingConfig by a name for tables.
    """
    found: dict[str, dict[str, Any]] = {"greedy": {"search": "greedy"}}
    for size in beam_sizes:
        beam = {"search": "beam", "beam_size": size}
        found[f"beam {size}"] = {**beam, "length_penalty": "none"}
        found[f"beam {size}, gnmt^{length_alpha:g}"] = {
            **beam,
            "length_penalty": "gnmt",
            "length_alpha": length_alpha,
        }
    return found


def measure_decoding(
    run: Run,
    sentences: Sequence[str],
    searches: Mapping[str, Mapping[str, Any]],
    *,
    repeats: int,
    peers: Sequence[Peer] = (),
    log: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Translates the sentences `repeats` times with each search and toolkit, in turns.

    Args:
      run: whose model, tokens and sizes are used.
      sentences: at least one with words.
      searches: fields of DecodingConfig, by name; the run's own are the others.
      repeats: rounds, in which each search of each toolkit has one turn.
      peers: toolkits to measure beside.
      log: is told what comes next.

    Returns:
      what a JSON file holds: a row for each search and toolkit, with sentences per second
      of the median round, and, for a peer, the median of its time over ours.

    Raises:
      ValueError: there is nothing to translate, or a search that the run does not take.
      RuntimeError: a peer failed; says how.
    """
    tokens = [[token.text for token in run.source_codec.tokens(s)] for s in sentences]
    if not any(tokens):
        raise ValueError("there is no sentence with words to translate")
    lines = [" ".join(words) for words in tokens if words]
    runs = {name: run.with_decoding(**fields) for name, fields in searches.items()}
    rows: list[dict[str, Any]] = []
    turns: list[Callable[[], Timed]] = []
    for name, searched in runs.items():
        decoding = searched.config.decoding
        about = {"search": name, "decoding": dataclasses.asdict(decoding)}
        log(f"{OURS}, {name}: compiling")
        started = time.perf_counter()
        shapes = searched.compile(sentences)
        facts = {
            "toolkit": OURS,
            "version": versions()["attention_jax"],
            "parameters": sum(a.size for a in jax.tree.leaves(run.params)),
            "shapes": shapes,
            "compile_seconds": time.perf_counter() - started,
        }
        rows.append(about | facts)
        turns.append(functools.partial(_translate, searched, sentences))
        for peer in peers:
            facts = {
                "toolkit": peer.name,
                "version": peer.version,
                "parameters": peer.parameters,
            }
            rows.append(about | facts)
            turns.append(functools.partial(peer.translate, lines, decoding))
    samples = _in_turns(rows, turns, repeats, log)
    ours: dict[str, list[float]] = {}
    for row, timed in zip(rows, samples, strict=True):
        seconds = [one.seconds for one in timed]
        first = ours.setdefault(row["search"], seconds)
        row["words"] = statistics.median(one.words for one in timed)
        row["seconds"] = summarize(seconds)
        row["sentences_per_second"] = len(lines) / row["seconds"]["median"]
        row["ratio"] = ratio(seconds, first)
    return {
        "schema": SCHEMA,
        "version": 1,
        "sentences": len(lines),
        "repeats": repeats,
        "rows": rows,
        "environment": machine_facts(),
    }


def _in_turns(
    rows: Sequence[Mapping[str, Any]],
    turns: Sequence[Callable[[], Timed]],
    repeats: int,
    log: Callable[[str], None],
) -> list[list[Timed]]:
    samples: list[list[Timed]] = [[] for _ in turns]
    for number, order in enumerate(round_orders(len(turns), repeats), 1):
        for index in order:
            row = rows[index]
            log(f"round {number}/{repeats}: {row['toolkit']}, {row['search']}")
            samples[index].append(turns[index]())
    return samples


def _translate(run: Run, sentences: Sequence[str]) -> Timed:
    started = time.perf_counter()
    found = run.decode(sentences)
    seconds = time.perf_counter() - started
    words = sum(len(one.target_tokens) + 1 for one in found if one.source_tokens)
    return Timed(seconds, words)


def report_rows(result: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A row for each search of each toolkit, as a table prints it."""
    rows: list[tuple[str, ...]] = [
        ("search", "toolkit", "sentences/s", "quartiles", "words/s", "time, x ours")
    ]
    for row in result["rows"]:
        seconds, number = row["seconds"], result["sentences"]
        low, high = (number / seconds[q] for q in ("high_quartile", "low_quartile"))
        rows.append(
            (
                row["search"],
                f"{row['toolkit']} {row['version']}",
                f"{row['sentences_per_second']:,.0f}",
                f"{low:,.0f}–{high:,.0f}",
                f"{row['words'] / seconds['median']:,.0f}",
                f"{row['ratio']:.2f}",
            )
        )
    return rows
