"""A container of the binary: `scripts/test --binary FILE` runs it, where runc or crun may."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from container.__main__ import main
from container.config import USER

from tests.container.containers import Container, Unpacked, running, runtime, unpack
from tests.waiting import HANG_S, wait_until

assert sys.platform != "win32"

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = {"LOCALRUN_API_KEY": "secret"}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Unpacked:
    """Return the image of the binary, unpacked."""
    binary = os.environ.get("LOCALRUN_TEST_BINARY")
    if not binary:
        pytest.skip("scripts/test --binary FILE runs it")
    if runtime() is None:
        pytest.skip("containers need root, and runc or crun")
    folder = tmp_path_factory.mktemp("image")
    assert main([binary, "--variant", "cpu", "--output", str(folder / "image")]) == 0
    return unpack(folder / "image", folder)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    os.chown(folder, USER, USER)
    return folder


@contextmanager
def healthy(image: Unpacked, volume: Path, *, read_only: bool = False) -> Iterator[Container]:
    """Run a container until the end of the block, which begins when its health check passes."""
    check = image.config["config"]["Healthcheck"]["Test"][1:]
    with running(image, volume, KEY, read_only=read_only) as container:
        wait_until(lambda: container.run(*check).returncode == 0, "health", poll_s=0.5)
        yield container


@pytest.mark.parametrize("read_only", [False, True], ids=["writable", "read-only"])
def test_a_question_is_answered_and_only_the_volume_written(
    image: Unpacked, volume: Path, *, read_only: bool
) -> None:
    with healthy(image, volume, read_only=read_only) as container:
        answer = container.run("localrun", "run", "guide", "What is 2 + 3?")
        status = container.stop(image.config["config"]["StopSignal"])

    assert (answer.returncode, answer.stderr) == (0, "")
    assert "5" in answer.stdout
    assert status == 0
    assert {path.stat().st_uid for path in volume.rglob("*")} == {USER}


def test_nobody_is_let_in_without_a_key(image: Unpacked, volume: Path) -> None:
    with running(image, volume, {}) as container:
        status = container.process.wait(HANG_S)

    assert status == 2
    assert "no API key is set" in (image.root.parent / "log").read_text()


def test_a_server_that_does_not_answer_is_not_healthy(image: Unpacked, volume: Path) -> None:
    with healthy(image, volume) as container:
        elsewhere = container.run("localrun", "health", LOCALRUN_HOST="127.0.0.1:1")

    assert elsewhere.returncode != 0
