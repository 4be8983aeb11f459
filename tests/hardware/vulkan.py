"""llama.cpp with Vulkan, which `scripts/test --vulkan` provides: tests that need it ask here."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def vulkan_site() -> Path:
    """Return the folder of llama.cpp with backends that are files; the test is skipped without."""
    return _provided("LOCALRUN_TEST_VULKAN")


def vulkan_package() -> Path:
    """Return the package of the backend; the test is skipped without."""
    return _provided("LOCALRUN_TEST_VULKAN_PACKAGE")


def vulkan_environ(
    visible: str, site: Path | None = None, *, has_module: bool = True
) -> dict[str, str]:
    """Return the environment of a program that sees these devices of Mesa's software driver.

    ``site`` has llama.cpp; the backend is in the user's folder, where `backend add` has put it.
    """
    place = site or vulkan_site()
    return {
        **os.environ,
        "PYTHONPATH": f"{place}{os.pathsep}{ROOT}",
        "GGML_VK_VISIBLE_DEVICES": visible,
        "XDG_DATA_HOME": str(_data_with_module(place) if has_module else place / "data"),
    }


@functools.cache
def _data_with_module(site: Path) -> Path:
    """Return a folder of data that has the backend."""
    folder = Path(tempfile.mkdtemp(prefix="localrun-vulkan-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    environ = {"PYTHONPATH": f"{site}{os.pathsep}{ROOT}", "XDG_DATA_HOME": str(folder)}
    command = [sys.executable, "-P", "-m", "localrun", "backend", "add", str(vulkan_package())]
    subprocess.run(command, check=True, env={**os.environ, **environ}, capture_output=True)
    return folder


def _provided(variable: str) -> Path:
    path = os.environ.get(variable)
    if not path:
        pytest.skip("scripts/test --vulkan runs it")
    return Path(path)
