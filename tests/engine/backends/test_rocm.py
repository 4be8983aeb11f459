"""ROCm's backend on a machine without ROCm."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from localrun.backends.folder import install
from localrun.backends.package import open_package
from localrun.hardware.probe import probe_machine
from tests.backends.modules import compiled, packed
from tests.hardware.vulkan import ROOT

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = b"int function_of_a_missing_driver(void) { return 0; }"


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_without_rocm_the_module_is_skipped_with_what_brings_its_library(tmp_path: Path) -> None:
    library = tmp_path / "libamdhip64.so.6"
    command = ["cc", "-shared", "-fPIC", "-Wl,-soname,libamdhip64.so.6", "-x", "c", "-"]
    subprocess.run([*command, "-o", str(library)], check=True, input=SOURCE)
    module = compiled(tmp_path, "rocm", library, UNRESOLVED="1")
    library.unlink()
    with open_package(packed(tmp_path, "rocm", module)) as package:
        install(package, tmp_path / "localrun" / "backends")
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_DATA_HOME": str(tmp_path)}

    machine = probe_machine(environ)

    assert machine.failure is None
    (state,) = [state for state in machine.backends if state.backend == "rocm"]
    assert not state.is_loaded
    assert state.reason.startswith("libamdhip64.so.6: cannot open shared object file")
    assert state.fix.startswith("sudo apt install rocm-hip-libraries")
