from __future__ import annotations

import sys
from pathlib import Path

import pytest
from engines import trial
from engines.fetching import WheelError

DYING = "#!/bin/sh\nkill -{signal} $$\n"


def test_the_installed_engine_computes() -> None:
    trial.run(Path(sys.executable))


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (DYING.format(signal="ILL"), "killed by SIGILL, it is for another processor"),
        (DYING.format(signal="ABRT"), "killed by SIGABRT"),
        ("#!/bin/sh\necho GLIBC_2.39 not found >&2; exit 1\n", "GLIBC_2.39 not found"),
        ("#!/bin/sh\nexit 0\n", "exit code 0"),
    ],
)
def test_an_engine_that_fails_is_a_reason(program: str, reason: str, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(program)
    python.chmod(0o755)

    with pytest.raises(WheelError, match=reason):
        trial.run(python)
