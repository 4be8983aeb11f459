"""A short stress test of real runners; `scripts/storm` runs for minutes, with more models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from storming.scenarios import scenarios
from storming.storm import Report, Storm

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 1.0


@pytest.mark.parametrize("name", ["guide with a draft", "hybrid"])
def test_a_storm_leaves_nothing_behind_and_every_request_ends_once(
    name: str, tmp_path: Path
) -> None:
    (scenario,) = (case for case in scenarios(tmp_path) if case.name == name)
    report = Report()
    storm = Storm(scenario, 7, report)

    storm.run(SECONDS, kill_every_s=SECONDS / 2)
    storm.run(SECONDS)
    storm.restart()
    storm.replay(most=25)
    storm.close()

    assert report.complaints == []
    assert report.num_kills
    assert report.replay_cases
