"""Storms of random requests over runner processes; `scripts/storm --help` lists the options."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from storming.storm import Report, Storm
from storming.weathers import weathers

GROWTH_MB = 25  # of a runner, from the middle of the storm on; it is warm by then


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/storm", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5, help="for all models together (5)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="models whose name has this in it")
    options = parser.parse_args()
    num_wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        found = [it for it in weathers(Path(folder)) if options.only in it.name]
        seconds = 60 * options.minutes / len(found)
        for weather in found:
            report = Report()
            storm = Storm(weather, options.seed, report)
            for _ in range(2):  # with kills, and without, so that memory can be compared
                storm.blow(seconds / 4, kill_every_s=seconds / 20)
            for _ in range(6):
                storm.blow(seconds / 12)
            storm.restart()
            storm.replay()
            storm.close()
            num_wrong += _print(weather.name, report)
    return 1 if num_wrong else 0


def _print(name: str, report: Report) -> int:
    memory = report.memory_mb[len(report.memory_mb) // 2 :]
    if memory and memory[-1] - memory[0] > GROWTH_MB:
        report.complaints.append(f"memory grows: {memory}")
    ends = ", ".join(f"{count} {end}" for end, count in sorted(report.ends.items()))
    print(f"{name}: {ends}; {report.num_kills} kills")
    for message, count in report.failures.most_common():
        print(f"    {count:5} {message}")
    print(f"    guesses {report.accepted} of {report.drafted}, cached {report.cached}")
    print(f"    asked again: {dict(report.parted)}, cached {report.cached_again}")
    print("    memory " + " ".join(f"{size:.0f}" for size in report.memory_mb) + " MB", flush=True)
    for complaint in report.complaints[:5]:
        print(f"    WRONG {complaint}", file=sys.stderr)
    return len(report.complaints)


if __name__ == "__main__":
    sys.exit(main())
