"""Stress tests: random requests to runners, or random keys and kills on two terminals.

`scripts/storm --help` lists the options.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from storming.scenarios import scenarios
from storming.storm import Report, Storm
from storming.terminals import run_chaos

GROWTH_MB = 25  # of a runner, in the second half of the test, when it is warm


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/storm", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5, help="total for all models (5)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="only models whose name contains this")
    parser.add_argument(
        "--terminals", action="store_true", help="commands, keys and kills on two terminals instead"
    )
    options = parser.parse_args()
    if options.terminals:
        return _storm_terminals(60 * options.minutes, options.seed)
    num_wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        selected = [case for case in scenarios(Path(folder)) if options.only in case.name]
        seconds = 60 * options.minutes / len(selected)
        for scenario in selected:
            report = Report()
            storm = Storm(scenario, options.seed, report)
            for _ in range(2):  # with kills; the others without, so that memory can be compared
                storm.run(seconds / 4, kill_every_s=seconds / 20)
            for _ in range(6):
                storm.run(seconds / 12)
            storm.restart()
            storm.replay()
            storm.close()
            num_wrong += _print(scenario.name, report)
    return 1 if num_wrong else 0


def _storm_terminals(seconds: float, seed: int) -> int:
    result = run_chaos(seconds, seed)
    for kind, count in sorted(result.turns.items()):
        print(f"    {count:5} {kind}")
    for complaint in result.complaints:
        print(f"    WRONG {complaint}", file=sys.stderr)
    return 1 if result.complaints else 0


def _print(name: str, report: Report) -> int:
    memory = report.memory_mb[len(report.memory_mb) // 2 :]
    if memory and memory[-1] - memory[0] > GROWTH_MB:
        report.complaints.append(f"memory grows: {memory}")
    ends = ", ".join(f"{count} {end}" for end, count in sorted(report.ends.items()))
    print(f"{name}: {ends}; {report.num_kills} kills")
    for message, count in report.failures.most_common():
        print(f"    {count:5} {message}")
    print(
        f"    draft tokens accepted {report.accepted} of {report.drafted}, cached {report.cached}"
    )
    print(f"    replayed: {dict(report.comparisons)}, cached {report.cached_again}")
    print("    memory " + " ".join(f"{size:.0f}" for size in report.memory_mb) + " MB", flush=True)
    for complaint in report.complaints[:5]:
        print(f"    WRONG {complaint}", file=sys.stderr)
    return len(report.complaints)


if __name__ == "__main__":
    sys.exit(main())
