"""Second names, and names that go."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from localrun.errors import ModelNotFoundError, UsageError
from localrun.names.parse import parse_name
from localrun.services.naming import Removed, copy_model, remove_model
from localrun.store.manifest import Role
from localrun.store.store import Store, embedded_models, embedded_projectors
from tests.services.making import (
    FILES,
    NAME,
    REPO,
    WEIGHTS,
    blob_of,
    entry_of,
    gguf,
    names_in,
    pull,
    workspace_at,
)
from tests.store.building import blob_names, damage, put_model

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.names.ref import ModelRef
    from localrun.services.workspace import Workspace
    from localrun.store.store import Entry

Q8 = f"hf.co/{REPO}:Q8_0"


def copy(workspace: Workspace, source: str, target: str) -> str:
    return copy_model(workspace, parse_name(source), parse_name(target))


def remove(workspace: Workspace, name: str) -> Removed:
    return remove_model(workspace, parse_name(name))


def test_a_second_name_means_the_same_bytes_from_the_same_place(workspace: Workspace) -> None:
    pull(workspace)
    blobs = blob_names(workspace.store.layout)

    assert copy(workspace, NAME, "mine") == "mine:latest"

    first, second = entry_of(workspace).ref, entry_of(workspace, "mine").ref
    assert second == replace(first, name="mine:latest", updated=second.updated)
    assert blob_names(workspace.store.layout) == blobs


@pytest.mark.parametrize("source", ["guide", "Guide:latest"])
def test_the_embedded_model_can_have_a_second_name(workspace: Workspace, source: str) -> None:
    copy(workspace, source, "mine")

    files = {Role.WEIGHTS: embedded_models(), Role.PROJECTOR: embedded_projectors()}
    for role, paths in files.items():
        (layer,) = entry_of(workspace, "mine").manifest.with_role(role)
        stored = workspace.store.blobs.path(layer.digest)
        assert stored.read_bytes() == paths["guide:latest"].read_bytes()


@pytest.mark.parametrize(
    "target", ["./mine.gguf", "https://host/mine.gguf", f"mine@sha256:{'0' * 64}"]
)
def test_what_is_no_name_cannot_be_given(workspace: Workspace, target: str) -> None:
    with pytest.raises(UsageError, match="not a valid new name"):
        copy(workspace, "guide", target)


def test_a_model_that_another_process_removes_meanwhile_is_not_found(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    pull(workspace)
    find = Store.find

    def find_and_lose(store: Store, ref: ModelRef) -> Entry | None:
        entry = find(store, ref)
        monkeypatch.setattr(Store, "find", find)
        remove(workspace, NAME)
        return entry

    monkeypatch.setattr(Store, "find", find_and_lose)

    with pytest.raises(ModelNotFoundError):
        copy(workspace, NAME, "mine")

    assert names_in(workspace) == []


def test_a_file_is_imported_and_not_copied(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(WEIGHTS)

    with pytest.raises(UsageError) as caught:
        copy(workspace, str(path), "mine")

    assert caught.value.hint == f"localrun import {path}"
    with pytest.raises(ModelNotFoundError):
        copy(workspace, "nosuch", "mine")


def test_bytes_go_with_the_last_name_that_needs_them(workspace: Workspace) -> None:
    pull(workspace)
    pull(workspace, Q8)
    copy(workspace, NAME, "mine")

    first = remove(workspace, NAME)
    second = remove(workspace, "mine")

    assert (first.name, first.freed_bytes) == (NAME, 0)
    assert second.freed_bytes > len(WEIGHTS)
    assert not blob_of(workspace, WEIGHTS).exists()
    assert blob_of(workspace, FILES["mmproj-F16.gguf"]).exists()
    assert names_in(workspace) == [Q8]


def test_what_is_freed_is_what_du_says_is_its_own(workspace: Workspace) -> None:
    from localrun.store.usage import usage

    pull(workspace)
    pull(workspace, Q8)
    before = usage(workspace.store)

    removed = remove(workspace, Q8)

    after = usage(workspace.store)
    own = {model.name: model.own_bytes for model in before.models}
    assert removed.freed_bytes == own[Q8] == before.total_bytes - after.total_bytes
    assert after.unused_bytes == 0


@pytest.mark.parametrize("name", ["guide", "Guide"])
def test_what_comes_with_localrun_stays(workspace: Workspace, name: str) -> None:
    with pytest.raises(UsageError, match="comes with localrun"):
        remove(workspace, name)


def test_a_models_own_name_hides_the_embedded_one_until_it_goes(workspace: Workspace) -> None:
    put_model(workspace.store, "guide", [gguf(4)])

    remove(workspace, "guide")

    assert workspace.models.find_model("guide").size_bytes > len(gguf(4))


def test_what_is_not_here_cannot_go(workspace: Workspace) -> None:
    pull(workspace)

    with pytest.raises(ModelNotFoundError):
        remove(workspace, "nosuch")
    with pytest.raises(ModelNotFoundError):
        remove(workspace, f"{NAME}@sha256:{'0' * 64}")

    assert names_in(workspace) == [NAME]


def test_a_store_that_is_only_read_is_left_alone(tmp_path: Path, workspace: Workspace) -> None:
    pull(workspace)
    shared = workspace.settings.models_dir
    other = workspace_at(tmp_path / "other", "http://127.0.0.1:9", extra_models=(shared,))

    with pytest.raises(UsageError, match="read-only"):
        remove(other, NAME)
    copy(other, NAME, "mine")
    remove(other, "mine")

    assert names_in(workspace) == [NAME]
    assert blob_of(workspace, WEIGHTS).exists()


@pytest.mark.parametrize("what", ["ref", "manifest"])
def test_a_damaged_model_can_be_removed(workspace: Workspace, what: str) -> None:
    manifest = pull(workspace).manifest
    layout = workspace.store.layout
    path = layout.ref(parse_name(NAME).key)
    if what == "ref":
        path.write_text("{")
    else:
        damage(layout.blob(manifest))

    removed = remove(workspace, NAME)

    assert removed.name == NAME
    assert removed.freed_bytes > len(WEIGHTS)
    assert not path.exists()
    assert blob_names(layout) == set()


def test_while_another_model_is_damaged_no_bytes_go(workspace: Workspace) -> None:
    """What the damaged one needs is not known."""
    pull(workspace)
    other = pull(workspace, Q8)
    damage(workspace.store.layout.blob(other.manifest))

    removed = remove(workspace, NAME)

    assert removed.freed_bytes == 0
    assert "cannot read the manifest of" in str(removed.problem)
    assert names_in(workspace) == []
    assert blob_of(workspace, WEIGHTS).exists()
