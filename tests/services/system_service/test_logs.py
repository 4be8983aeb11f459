"""Logs of the server, as they are and as they grow."""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING

from localrun.services.system_service.logs import log_files, new_lines

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_the_last_lines_are_read(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_bytes(b"one\ntwo\n\xff\nlast")

    assert list(new_lines(log, 2)) == ["\N{REPLACEMENT CHARACTER}", "last"]
    assert log_files(tmp_path) == [log]
    assert list(new_lines(tmp_path / "none", 2)) == []


def test_a_log_that_grows_and_is_replaced_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "server.log"
    log.write_text("old\nbegun")
    writes = iter([" and ended\n", "", None])

    def write_more(_: float) -> None:
        text = next(writes)
        if text is None:
            log.rename(tmp_path / "server.log.1")
            log.write_text("new\n")
        else:
            with log.open("a") as out:
                out.write(text)

    monkeypatch.setattr(time, "sleep", write_more)

    lines = list(islice(new_lines(log, 5, follow=True), 3))

    assert lines == ["old", "begun and ended", "new"]
