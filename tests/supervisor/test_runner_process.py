"""The log of a runner, and the reason that it gives for its end."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import TYPE_CHECKING

from localrun.supervisor.runner_process import RunnerProcess, start_with_pair

if TYPE_CHECKING:
    import socket

    import pytest

LINES = "DEBUG a: decided", "INFO b: loaded", "GGML_ASSERT", "DEBUG c: freed"


def start(child_end: socket.socket) -> subprocess.Popen[bytes]:
    assert child_end.fileno() > 0
    code = f"import sys; sys.stderr.write({chr(10).join(LINES)!r}); sys.exit(1)"
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)


def test_debug_lines_are_logged_as_such_and_hide_no_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG, logger="localrun"):
        process = RunnerProcess(lambda: start_with_pair(start))
        process.wait(60)
    process.socket.close()

    assert process.exit_reason() == "exit code 1: GGML_ASSERT"
    levels = {record.message: record.levelname for record in caplog.records}
    assert [levels[f"runner: {line}"] for line in LINES] == ["DEBUG", "INFO", "WARNING", "DEBUG"]
