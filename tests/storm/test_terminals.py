"""A few seconds of `scripts/storm --terminals`, which runs for minutes by hand."""

from __future__ import annotations

import sys

import pytest
from storming.terminals import run_chaos

SECONDS = 4.0


@pytest.mark.skipif(sys.platform != "linux", reason="it finds processes in /proc")
def test_chaos_on_two_terminals_leaves_nothing_behind() -> None:
    result = run_chaos(SECONDS, seed=5)

    assert result.complaints == []
    assert result.turns["command"]
