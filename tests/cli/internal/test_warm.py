from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from localrun.backends.folder import install
from localrun.backends.package import open_package
from tests.backends.modules import compiled, packed

PREPARED = """
from pathlib import Path
from localrun.cli.internal.warm import _import
list(_import())
print(Path("/proc/self/maps").read_text())
"""


BEFORE_A_RUNNER = """
import sys
from localrun.cli.internal.warm import _import
for awaited in _import():
    print(awaited, *sorted({"email", "numpy", "ssl", "urllib3"} & sys.modules.keys()))
"""


def test_what_takes_much_memory_waits_for_a_runner_or_stays_out() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BEFORE_A_RUNNER], check=True, capture_output=True, text=True
    )

    *commands, last = done.stdout.splitlines()
    assert set(commands) == {"None"}
    assert last == "runner"


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only on Linux")
def test_the_warm_process_loads_no_backend_before_it_forks(tmp_path: Path) -> None:
    library = compiled(tmp_path, "cuda", ABORTS="1")
    with open_package(packed(tmp_path, "cuda", library)) as package:
        install(package, tmp_path / "localrun" / "backends")

    done = subprocess.run(
        [sys.executable, "-c", PREPARED],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "XDG_DATA_HOME": str(tmp_path)},
    )

    assert done.returncode == 0, done.stderr
    assert "libllama" in done.stdout
    loaded = [
        name for name in ("ggml-cuda", "ggml-vulkan", "libcuda", "libvulkan") if name in done.stdout
    ]
    assert loaded == []
