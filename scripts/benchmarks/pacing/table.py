"""Table of ``scripts/bench pacing``: bursts and readers under the engine's pacing, simulated.

Every figure is simulated from the measured costs in `costs.py`, and the same on every machine.
"""

from __future__ import annotations

import argparse
import statistics
from typing import TYPE_CHECKING

from benchmarks.pacing.costs import STREAMS, UNIFIED
from benchmarks.pacing.scenarios import BURSTS, LONG_PROMPT, crowd, long_prompt_beside_stream
from benchmarks.pacing.simulation import simulate

if TYPE_CHECKING:
    from benchmarks.pacing.costs import CallCosts
    from benchmarks.pacing.simulation import Outcome

KINDS = {"unified": UNIFIED, "streams": STREAMS}
LEADS_S = (0.5, 5.0, 20.0, 60.0)  # age of a stream when a long prompt arrives


def main(arguments: list[str]) -> int:
    """Print the table of each kind of KV cache."""
    parser = argparse.ArgumentParser(prog="scripts/bench pacing", description=__doc__)
    parser.add_argument("--crowds", type=int, default=200, help="random crowds of readers")
    parser.add_argument("--slower", type=float, default=1.0, help="factor of all costs")
    chosen = parser.parse_args(arguments)
    for name, costs in KINDS.items():
        _show(name, costs.scaled(chosen.slower), chosen.crowds)
    return 0


def _show(kind: str, costs: CallCosts, num_crowds: int) -> None:
    print(f"\n{kind:34}{'wall':>8}{'ideal':>8}{'ratio':>7}{'first p50':>11}{'p95':>7}{'waits':>8}")
    for burst in BURSTS:
        ideal_s = burst.ideal_s(costs)
        for shown in (burst, burst.without_readers()):
            outcome = simulate(shown.arrivals, costs, is_warm=shown.is_warm)
            about = shown.name if shown is burst else "  the same, nobody reads"
            print(
                f"{about:34}{outcome.wall_s:8.1f}{ideal_s:8.1f}{outcome.wall_s / ideal_s:7.2f}"
                f"{_waits(outcome)}"
            )
    alone_s = costs.prompt_seconds(LONG_PROMPT)
    for begun_s in LEADS_S:
        outcome = simulate(long_prompt_beside_stream(begun_s), costs)
        prompt_s = outcome.answers[1].first_s
        print(
            f"{f'4,000 tokens beside {begun_s:g} s of stream':34}{prompt_s:8.1f}{alone_s:8.1f}"
            f"{prompt_s / alone_s:7.2f}{_waits(outcome)}, longest {outcome.longest_wait_s:.2f}"
        )
    for gap_s in (3.0, 6.0, 12.0, 24.0):
        outcomes = [simulate(crowd(seed, gap_s=gap_s), costs) for seed in range(num_crowds)]
        print(f"{f'{num_crowds} crowds, every {gap_s:g} s':34}{_crowds(outcomes)}")


def _waits(outcome: Outcome) -> str:
    return f"{outcome.first_p50_s:11.1f}{outcome.first_p95_s:7.1f}{outcome.reader_wait_s:8.1f}"


def _crowds(outcomes: list[Outcome]) -> str:
    """Return means over the crowds."""

    def mean(name: str) -> float:
        return statistics.fmean(getattr(outcome, name) for outcome in outcomes)

    waits = mean("reader_wait_s") / len(outcomes[0].answers)
    return (
        f"{mean('wall_s'):8.1f}{'':15}{mean('first_p50_s'):11.1f}{mean('first_p95_s'):7.1f}"
        f"{waits:8.2f}, longest {mean('longest_wait_s'):.2f}, felt {mean('felt_s'):.2f}"
    )
