from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from localrun.errors import UsageError
from localrun.services.deploying.describing import (
    DeployOptions,
    describe_deployment,
    read_api_key,
)
from localrun.store.store import embedded_models
from tests.services.making import pull

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.services.workspace import Workspace
    from tests.fakes.hub import FakeHub

OPTIONS = DeployOptions(image="localrun:1")


def test_a_pulled_model_is_pulled_again_by_its_lock(hub: FakeHub, workspace: Workspace) -> None:
    hub.add("owner/guide-GGUF", {"guide-Q8_0.gguf": embedded_models()["guide:latest"].read_bytes()})
    name = "hf.co/owner/guide-GGUF:Q8_0"
    pull(workspace, name)

    deployment = describe_deployment(workspace, name, OPTIONS)

    assert deployment.pulls
    lock = json.loads(deployment.model.lock or "")
    (locked,) = lock["models"].values()
    assert locked["files"][0]["digest"].startswith("sha256:")


def test_the_embedded_model_is_pulled_by_nobody(workspace: Workspace) -> None:
    deployment = describe_deployment(workspace, "guide", OPTIONS)

    assert not deployment.pulls
    assert deployment.model.name == deployment.name == "guide"


def test_the_plan_follows_what_is_asked(workspace: Workspace) -> None:
    small = describe_deployment(workspace, "guide", DeployOptions(image="i", num_ctx=256))
    large = describe_deployment(workspace, "guide", DeployOptions(image="i", num_parallel=64))

    assert small.model.num_ctx == 256
    assert large.model.num_parallel == 64
    assert small.model.needed_bytes < large.model.needed_bytes


@pytest.mark.parametrize("content", [b"", b"two words", b"\xff", b"x" * 20_000])
def test_what_is_no_key_is_not_repeated(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)

    with pytest.raises(UsageError) as caught:
        read_api_key(str(file))

    assert caught.value.message == f"--key-file {file} has no key in its first line"
