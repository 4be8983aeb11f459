"""llama.cpp with Vulkan, which `scripts/test --vulkan` provides: tests that need it ask here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def vulkan_site() -> Path:
    """Return the folder of the package; the test is skipped without."""
    site = os.environ.get("LOCALRUN_TEST_VULKAN")
    if not site:
        pytest.skip("scripts/test --vulkan runs it")
    return Path(site)


def vulkan_environ(visible: str, site: Path | None = None) -> dict[str, str]:
    """Return the environment of a program that sees these devices of Mesa's software driver."""
    return {
        **os.environ,
        "PYTHONPATH": f"{site or vulkan_site()}{os.pathsep}{ROOT}",
        "GGML_VK_VISIBLE_DEVICES": visible,
    }
