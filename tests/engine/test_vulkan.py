"""Offload, splits and the processor alone, computed by llama.cpp's Vulkan on Mesa's driver."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.hardware.vulkan import ROOT, vulkan_environ

pytestmark = pytest.mark.vulkan
CHILD = Path(__file__).with_name("vulkan_child.py")
MIB = 1024 * 1024
WEIGHTS = 5 * MIB  # of guide, at least


def load(guide: Path, device: str, *, visible: str, layers: int = -1) -> dict[str, Any]:
    done = subprocess.run(
        [
            sys.executable,
            str(CHILD),
            json.dumps({"model": str(guide), "device": device, "layers": layers}),
        ],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=vulkan_environ(visible),
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def plain_text(guide_path: Path) -> str:
    """Return what the processor alone answers, with Vulkan in the build."""
    found = load(guide_path, "cpu", visible="0")
    assert found["devices"] == []
    assert found["bytes"] == [0, 0]  # not even a buffer to compute in
    return str(found["text"])


def test_all_layers_on_the_gpu_answer_as_the_processor_does(
    guide_path: Path, plain_text: str
) -> None:
    found = load(guide_path, "auto", visible="0")

    assert found["devices"] == ["Vulkan0"]
    assert found["bytes"][0] > WEIGHTS
    assert found["text"] == plain_text


def test_two_gpus_share_the_layers(guide_path: Path, plain_text: str) -> None:
    found = load(guide_path, "vulkan", visible="0,0")

    assert found["devices"] == ["Vulkan0", "Vulkan1"]
    assert min(found["bytes"]) > MIB
    assert found["text"] == plain_text


def test_the_second_gpu_alone_leaves_the_first_one_empty(guide_path: Path, plain_text: str) -> None:
    found = load(guide_path, "vulkan:1", visible="0,0")

    assert found["devices"] == ["Vulkan1"]
    assert found["bytes"][0] == 0
    assert found["bytes"][1] > WEIGHTS
    assert found["text"] == plain_text


def test_some_layers_on_the_gpu_take_less_of_it(guide_path: Path, plain_text: str) -> None:
    some = load(guide_path, "auto", visible="0", layers=2)
    everything = load(guide_path, "auto", visible="0")

    assert 0 < some["bytes"][0] < everything["bytes"][0]
    assert some["text"] == plain_text


def test_no_layers_on_the_gpu_take_nothing_of_it(guide_path: Path, plain_text: str) -> None:
    found = load(guide_path, "auto", visible="0", layers=0)

    assert found["bytes"] == [0, 0]
    assert found["text"] == plain_text


def test_hidden_gpus_leave_the_processor(guide_path: Path, plain_text: str) -> None:
    found = load(guide_path, "auto", visible="")

    assert found["devices"] == []
    assert found["text"] == plain_text
