"""Steps of the warm process before and between its forks."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING

from localrun.warm.preparation import ImportSteps

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest


def test_steps_run_one_at_a_time_in_their_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc, "freeze", lambda: None)  # this process goes on
    monkeypatch.setenv("GIVEN", "before")
    seen: list[tuple[str | None, str | None]] = []

    def steps() -> Iterator[str | None]:
        for awaited in (None, "runner"):
            seen.append((os.environ.get("ADDED"), os.environ.get("GIVEN")))
            os.environ["GIVEN"] = "by an import"
            yield awaited
        seen.append((None, None))

    preparation = ImportSteps(steps(), {"ADDED": "yes"})
    states, due = [], []
    while not preparation.is_complete:
        preparation.run_step()
        states.append((len(seen), os.environ.get("ADDED"), os.environ["GIVEN"]))
        due.append(preparation.is_due_at_once)

    assert states == [(1, None, "before"), (2, None, "before"), (3, None, "before")]
    assert seen == [("yes", "before"), ("yes", "before"), (None, None)]
    assert due == [True, False, False]
