"""Two results beside each other: what became slower, the machine's mood taken out."""

import statistics
from typing import Any, NamedTuple

from attention_jax.benchmarking.results import CASE_KEYS, case_name

# Slower by more than this, and by more than the spread, is reported.
SLOWER = 1.1

PEERS = "peers"
PEAK = "matmul peak"


class Change(NamedTuple):
    """One implementation of ours on one case, new against old.

    Attributes:
      case: the case's name. candidate: the implementation's.
      raw: new median / old median.
      machine: how much slower the machine itself was, by what measured it: the median of
        the peers' new / old on this case, or old / new matmul peak where they have no
        peer of one version in common.
      yardstick: "peers" or "matmul peak".
      slower: raw / machine exceeds SLOWER and the quartiles do not overlap.
    """

    case: str
    candidate: str
    raw: float
    machine: float
    yardstick: str
    slower: bool

    @property
    def normalized(self) -> float:
        """new / old, with the machine's part taken out."""
        return self.raw / self.machine


def compare(old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    """The changes of every case and implementation that both measured, worst first."""
    before = {_key(case): case for case in old["cases"]}
    peers = {
        name
        for name, found in new["peers"].items()
        if "version" in found and found == old["peers"].get(name)
    }
    changes = []
    for case in new["cases"]:
        if _key(case) in before:
            changes += _changes(before[_key(case)], case, peers)
    return sorted(changes, key=lambda change: -change.normalized)


def _key(case: dict[str, Any]) -> str:
    # A workload whose shapes were changed is another workload.
    return f"{[case[key] for key in CASE_KEYS]} {sorted(case['shapes'].items())}"


def _changes(old: dict[str, Any], new: dict[str, Any], peers: set[str]) -> list[Change]:
    before, after = _seconds(old), _seconds(new)
    common = [name for name in after if name in before]
    ratios = {name: after[name]["median"] / before[name]["median"] for name in common}
    yardsticks = [ratio for name, ratio in ratios.items() if name in peers]
    if yardsticks:
        machine, yardstick = statistics.median(yardsticks), PEERS
    else:
        machine = old["peak_flops_per_second"] / new["peak_flops_per_second"]
        yardstick = PEAK
    ours = {row["candidate"] for row in new["rows"] if row["ours"]}
    changes = []
    for name in common:
        if name in ours:
            apart = (
                after[name]["low_quartile"] / machine > before[name]["high_quartile"]
            )
            slower = ratios[name] / machine > SLOWER and apart
            changes.append(
                Change(case_name(new), name, ratios[name], machine, yardstick, slower)
            )
    return changes


def _seconds(case: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        row["candidate"]: row["seconds"] for row in case["rows"] if "seconds" in row
    }
