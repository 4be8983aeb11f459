"""Check models, and fetch again what is bad."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.errors import ModelNotFoundError
from localrun.names.parse import parse_name
from localrun.services.naming import copy_model
from localrun.services.verify import Verdict, verify_models
from tests.fakes.hub import FakeHub, fake_hub
from tests.services.making import (
    DEAD,
    FILES,
    NAME,
    REPO,
    TEMPLATE,
    WEIGHTS,
    Told,
    blob_of,
    entry_of,
    gguf,
    pull,
    with_environ,
)
from tests.store.building import damage, put_model

if TYPE_CHECKING:
    from localrun.services.workspace import Workspace


def check(workspace: Workspace, *names: str, is_repair: bool = False) -> list[Verdict]:
    return verify_models(workspace, names, Told(), is_repair=is_repair)


def repair(workspace: Workspace) -> Verdict:
    (verdict,) = check(workspace, NAME, is_repair=True)
    return verdict


def test_whole_models_are_good_and_all_bytes_are_reported(workspace: Workspace) -> None:
    pull(workspace)
    told = Told()

    (verdict,) = verify_models(workspace, (), told, is_repair=False)

    ((total, _),) = told.begun
    assert verdict == Verdict(name=NAME)
    assert verdict.is_good
    assert told.ended["all files"] == (total, total)


def test_what_is_bad_is_named_for_every_model_that_needs_it(workspace: Workspace) -> None:
    pull(workspace)
    pull(workspace, f"hf.co/{REPO}:Q8_0")
    damage(blob_of(workspace, FILES["mmproj-F16.gguf"]))
    blob_of(workspace, WEIGHTS).unlink()

    found = {
        verdict.name: sorted(bad.reason for bad in verdict.bad) for verdict in check(workspace)
    }

    assert found == {NAME: ["damaged", "missing"], f"hf.co/{REPO}:Q8_0": ["damaged"]}
    assert [verdict.name for verdict in check(workspace, NAME)] == [NAME]


@pytest.mark.parametrize("content", [WEIGHTS, TEMPLATE])
def test_only_what_is_bad_is_fetched_again(
    workspace: Workspace, hub: FakeHub, content: bytes
) -> None:
    pull(workspace)
    before = entry_of(workspace).ref
    damage(blob_of(workspace, content))
    num_asked = len(hub.file_requests)

    verdict = repair(with_environ(workspace))

    assert verdict.is_repaired
    assert verdict.is_good
    assert blob_of(workspace, content).read_bytes() == content
    assert len(hub.file_requests) == num_asked + 1
    after = entry_of(workspace).ref
    assert (after.origin, after.choice, after.revision) == (
        before.origin,
        before.choice,
        before.revision,
    )


def test_the_version_that_was_here_is_repaired_and_not_a_newer_one(
    workspace: Workspace, hub: FakeHub
) -> None:
    manifest = pull(workspace).manifest
    hub.replace(REPO, "model-Q4_K_M.gguf", gguf(1))
    damage(blob_of(workspace, WEIGHTS))

    assert repair(workspace).is_repaired
    assert entry_of(workspace).ref.manifest == manifest


def test_a_damaged_manifest_is_made_again(workspace: Workspace) -> None:
    manifest = pull(workspace).manifest
    damage(workspace.store.layout.blob(manifest))

    assert repair(workspace).is_repaired
    assert entry_of(workspace).ref.manifest == manifest


def test_what_a_damaged_manifest_hid_is_repaired_with_it(workspace: Workspace) -> None:
    manifest = pull(workspace).manifest
    damage(workspace.store.layout.blob(manifest))
    damage(blob_of(workspace, WEIGHTS))

    assert repair(workspace).is_repaired
    assert blob_of(workspace, WEIGHTS).read_bytes() == WEIGHTS


def test_a_damaged_config_is_made_again(workspace: Workspace) -> None:
    pull(workspace)
    damage(workspace.store.layout.blob(entry_of(workspace).manifest.config.digest))

    assert repair(workspace).is_repaired


def test_modelscope_repairs_what_hugging_face_gave(workspace: Workspace) -> None:
    pull(workspace)
    damage(blob_of(workspace, WEIGHTS))
    with fake_hub() as modelscope:
        modelscope.add(REPO, FILES)
        moved = with_environ(workspace, HF_ENDPOINT=DEAD, MODELSCOPE_ENDPOINT=modelscope.url)

        assert repair(moved).is_repaired

    assert blob_of(workspace, WEIGHTS).read_bytes() == WEIGHTS
    assert entry_of(workspace).ref.origin == NAME


def test_what_nobody_can_bring_is_told(workspace: Workspace) -> None:
    pull(workspace)
    copy_model(workspace, parse_name(NAME), parse_name("copy"))
    put_model(workspace.store, "made", [gguf(4)])
    damage(blob_of(workspace, WEIGHTS))
    damage(blob_of(workspace, gguf(4)))
    down = with_environ(workspace, HF_ENDPOINT=DEAD, MODELSCOPE_ENDPOINT=DEAD)

    verdicts = {verdict.name: verdict for verdict in check(down, is_repair=True)}

    assert "127.0.0.1:9" in str(verdicts[NAME].problem)
    assert "created or imported" in str(verdicts["made:latest"].problem)
    assert not any(verdict.is_good for verdict in verdicts.values())
    assert len(verdicts) == 3
    assert blob_of(workspace, gguf(4)).exists()  # damaged is better than gone
    assert not list(workspace.store.layout.tmp.iterdir())


def test_what_was_made_here_is_repaired_by_a_pulled_model_with_the_same_bytes(
    workspace: Workspace,
) -> None:
    pull(workspace)
    put_model(workspace.store, "a-first", [WEIGHTS])
    put_model(workspace.store, "z-last", [WEIGHTS])
    damage(blob_of(workspace, WEIGHTS))
    (named,) = check(workspace, "a-first", is_repair=True)
    damage(blob_of(workspace, WEIGHTS))

    verdicts = check(workspace, is_repair=True)

    assert named.is_repaired
    assert [verdict.is_repaired for verdict in verdicts] == [True] * 3
    assert [verdict.problem for verdict in verdicts] == [None] * 3


def test_a_name_that_cannot_be_read_is_not_passed_over(workspace: Workspace) -> None:
    pull(workspace)
    path = workspace.store.layout.ref(parse_name(NAME).key)
    path.write_text("{")

    (verdict,) = check(workspace)

    assert verdict.name == str(path)
    assert not verdict.is_good
    assert "damaged" in str(verdict.problem)
    assert not check(workspace, is_repair=True)[0].is_good


@pytest.mark.parametrize("name", ["guide", "nosuch"])
def test_what_is_not_in_the_store_is_not_verified(workspace: Workspace, name: str) -> None:
    with pytest.raises(ModelNotFoundError):
        check(workspace, name)
