"""Push models to a registry, and pull them back."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from localrun.errors import IntegrityError, LocalrunError, ModelNotFoundError, UsageError
from localrun.names.parse import parse_name
from localrun.services.pulling.lock import make_lock, plans_of
from localrun.services.push import Pushed, push_model
from localrun.services.verify import verify_models
from tests.fakes.docker_registry import find_registry, running_registry
from tests.fakes.registry import FakeRegistry
from tests.fakes.web import Reply, Request, Web, serving
from tests.services.making import (
    FILES,
    NAME,
    REPO,
    WEIGHTS,
    Told,
    blob_of,
    digest,
    entry_of,
    gguf,
    pull,
    workspace_at,
)
from tests.store.building import damage, put_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from localrun.services.workspace import Workspace


@pytest.fixture
def registry() -> Iterator[Web]:
    with serving(FakeRegistry()) as web:
        yield web


@pytest.fixture(scope="module")
def real_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program = find_registry()
    if program is None:
        pytest.skip("no docker-registry on the PATH or in LOCALRUN_TEST_REGISTRY")
    with running_registry(program, tmp_path_factory.mktemp("registry")) as host:
        yield host


def push(workspace: Workspace, name: str, target: str, told: Told | None = None) -> Pushed:
    source, place = parse_name(name), parse_name(target)
    return push_model(workspace, source, place, told or Told(), is_insecure=False)


def elsewhere(tmp_path: Path, workspace: Workspace) -> Workspace:
    return workspace_at(tmp_path / "elsewhere", workspace.environ["HF_ENDPOINT"])


def sent_blobs(registry: Web) -> int:
    return sum(
        request.method == "PUT" and "/blobs/" in request.path for request in registry.requests
    )


def test_what_was_pushed_comes_back_to_the_same_digest(
    workspace: Workspace, registry: Web, tmp_path: Path
) -> None:
    manifest = pull(workspace).manifest
    told = Told()

    pushed = push(workspace, NAME, f"{registry.host}/me/mine:1", told)
    other = elsewhere(tmp_path, workspace)
    pulled = pull(other, pushed.name)

    assert pushed.name == f"{registry.host}/me/mine:1"
    assert pushed.manifest == pulled.manifest == manifest
    assert pushed.sent_bytes == pushed.size_bytes
    assert told.begun == [(pushed.size_bytes, 5)]
    assert all(done == total for done, total in told.ended.values())
    assert blob_of(other, WEIGHTS).read_bytes() == WEIGHTS
    assert entry_of(other, pushed.name).ref.origin == pushed.name


def test_what_is_there_is_not_sent_again(workspace: Workspace, registry: Web) -> None:
    pull(workspace)
    pull(workspace, f"hf.co/{REPO}:Q8_0")
    push(workspace, NAME, f"{registry.host}/me/mine:1")
    num_sent = sent_blobs(registry)

    again = push(workspace, NAME, f"{registry.host}/me/mine:2")
    other = push(workspace, f"hf.co/{REPO}:Q8_0", f"{registry.host}/me/mine:3")

    assert again.sent_bytes == 0
    config = entry_of(workspace, f"hf.co/{REPO}:Q8_0").manifest.config
    assert other.sent_bytes == len(FILES["model-Q8_0.gguf"]) + config.size_bytes
    assert sent_blobs(registry) == num_sent + 2


def test_a_push_that_broke_goes_on(workspace: Workspace) -> None:
    """The upload's address is a secret between us and the registry, and gone at the end."""
    pull(workspace)
    fake, is_down = FakeRegistry(), False

    def answer(request: Request) -> Reply:
        return Reply(404) if is_down and request.method in {"PATCH", "PUT"} else fake(request)

    with serving(answer) as web:
        is_down = True
        with pytest.raises(LocalrunError):
            push(workspace, NAME, f"{web.host}/me/mine:1")
        kept = workspace.store.layout.partial.glob("push-*/session")
        modes = [stat.S_IMODE(path.stat().st_mode) for path in kept]
        is_down = False
        pushed = push(workspace, NAME, f"{web.host}/me/mine:1")

    assert modes == [0o600]
    assert pushed.sent_bytes > 0
    assert list(workspace.store.layout.partial.iterdir()) == []


def test_a_damaged_file_is_not_pushed(workspace: Workspace, registry: Web) -> None:
    pull(workspace)
    damage(blob_of(workspace, WEIGHTS))

    with pytest.raises(IntegrityError):
        push(workspace, NAME, f"{registry.host}/me/mine:1")

    assert not any("/manifests/" in request.path for request in registry.requests)


@pytest.mark.parametrize("target", ["mine", "hf.co/me/mine:1", "./mine", "https://host/mine.gguf"])
def test_only_a_registry_takes_models(workspace: Workspace, target: str) -> None:
    pull(workspace)

    with pytest.raises(UsageError, match="not in an OCI registry") as caught:
        push(workspace, NAME, target)

    assert str(caught.value.hint).startswith(f"localrun push {NAME} ghcr.io/me/")


def test_what_is_not_in_the_store_is_told_how_it_gets_there(
    workspace: Workspace, registry: Web, tmp_path: Path
) -> None:
    target = f"{registry.host}/me/mine:1"
    path = tmp_path / "m.gguf"
    path.write_bytes(WEIGHTS)

    with pytest.raises(UsageError) as of_file:
        push(workspace, str(path), target)
    with pytest.raises(UsageError) as of_guide:
        push(workspace, "guide", target)
    with pytest.raises(ModelNotFoundError):
        push(workspace, "nosuch", target)

    assert of_file.value.hint == f"localrun import {path}"
    assert str(of_guide.value.hint).startswith("localrun cp guide mine; localrun push mine ")
    assert registry.requests == []


def test_a_tag_that_moves_makes_a_model_outdated_and_a_lock_keeps_it(
    workspace: Workspace, registry: Web, tmp_path: Path
) -> None:
    from localrun.services.pulling.outdated import find_outdated

    name = f"{registry.host}/me/mine:1"
    first = put_model(workspace.store, "one", [gguf(1)])
    put_model(workspace.store, "two", [gguf(2)])
    push(workspace, "one", name)
    other = elsewhere(tmp_path, workspace)
    pull(other, name)
    lock = make_lock(other)
    assert [model.is_outdated for model in find_outdated(other)] == [False]

    push(workspace, "two", name)

    (model,) = find_outdated(other)
    (plan,) = plans_of(other, lock["models"])
    assert model.is_outdated
    assert digest(plan.manifest or b"") == first.manifest


def test_a_registry_repairs_what_it_gave(
    workspace: Workspace, registry: Web, tmp_path: Path
) -> None:
    pull(workspace)
    name = push(workspace, NAME, f"{registry.host}/me/mine:1").name
    other = elsewhere(tmp_path, workspace)
    manifest = pull(other, name).manifest
    damage(blob_of(other, WEIGHTS))
    damage(other.store.layout.blob(manifest))

    (verdict,) = verify_models(other, [name], Told(), is_repair=True)

    assert verdict.is_repaired
    assert entry_of(other, name).ref.origin == name


def test_debians_registry_takes_it_and_gives_it_back(
    workspace: Workspace, real_host: str, tmp_path: Path
) -> None:
    manifest = pull(workspace).manifest

    pushed = push(workspace, NAME, f"{real_host}/me/mine:1")
    again = push(workspace, NAME, f"{real_host}/me/mine:1")
    pulled = pull(elsewhere(tmp_path, workspace), pushed.name)

    assert (pulled.manifest, pushed.manifest) == (manifest, manifest)
    assert again.sent_bytes == 0
