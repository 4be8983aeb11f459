"""A short storm over real runners; `scripts/storm` blows for minutes, over more models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from storming.storm import Report, Storm
from storming.weathers import weathers

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 1.0


@pytest.mark.parametrize("name", ["guide with a draft", "hybrid"])
def test_a_storm_leaves_nothing_behind_and_every_request_ends_once(
    name: str, tmp_path: Path
) -> None:
    (weather,) = (it for it in weathers(tmp_path) if it.name == name)
    report = Report()
    storm = Storm(weather, 7, report)

    storm.blow(SECONDS, kill_every_s=SECONDS / 2)
    storm.blow(SECONDS)
    storm.restart()
    storm.replay(most=25)
    storm.close()

    assert report.complaints == []
    assert report.num_kills
    assert report.witnesses
