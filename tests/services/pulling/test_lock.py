"""Lock files: everyone who pulls by one has the same bytes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from localrun.errors import (
    IntegrityError,
    ModelNotFoundError,
    NetworkError,
    NotFoundError,
    UsageError,
)
from localrun.names.parse import parse_name
from localrun.registry.http import OfflineError
from localrun.services.naming import copy_model
from localrun.services.progress import SilentReport
from localrun.services.pulling.lock import make_lock, plans_of, read_lock
from localrun.services.pulling.pull import Pulled, PullOptions, run_plan
from tests.fakes.hub import FakeHub, fake_hub
from tests.services.making import (
    DEAD,
    FILES,
    NAME,
    REPO,
    WEIGHTS,
    blob_of,
    digest,
    entry_of,
    gguf,
    pull,
    with_environ,
    workspace_at,
)
from tests.store.building import put_model

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.services.workspace import Workspace


@pytest.fixture
def colleague(tmp_path: Path, hub: FakeHub) -> Workspace:
    """Return the workspace of someone else, still empty."""
    return workspace_at(tmp_path / "colleague", hub.url)


def pull_by(workspace: Workspace, lock: dict[str, Any]) -> list[Pulled]:
    plans = plans_of(workspace, lock["models"])
    return [run_plan(workspace, plan, PullOptions(), SilentReport()) for plan in plans]


def test_a_lock_names_origin_revision_and_every_byte(workspace: Workspace, hub: FakeHub) -> None:
    pulled = pull(workspace)

    model = make_lock(workspace)["models"][NAME]

    assert model["origin"] == NAME
    assert model["revision"] == hub.repos[REPO].head.commit
    assert model["manifest"] == pulled.manifest
    assert model["files"][0] == {
        "name": "model-Q4_K_M.gguf",
        "role": "weights",
        "digest": digest(WEIGHTS),
        "size_bytes": len(WEIGHTS),
    }
    assert len(model["files"]) == 4


def test_who_pulls_by_it_has_the_same_and_locks_the_same(
    workspace: Workspace, colleague: Workspace, hub: FakeHub
) -> None:
    pull(workspace)
    lock = make_lock(workspace)
    hub.replace(REPO, "model-Q4_K_M.gguf", gguf(1))  # since then

    (pulled,) = pull_by(colleague, json.loads(json.dumps(lock)))

    assert pulled.manifest == entry_of(workspace).ref.manifest
    assert blob_of(colleague, WEIGHTS).read_bytes() == WEIGHTS
    assert make_lock(colleague) == lock
    assert pull_by(colleague, lock)[0].fetched_bytes == 0


def test_the_name_of_a_lock_may_be_another_than_the_origins(
    workspace: Workspace, colleague: Workspace
) -> None:
    pull(workspace)
    copy_model(workspace, parse_name(NAME), parse_name("mine"))

    (pulled,) = pull_by(colleague, make_lock(workspace, ["mine"]))

    assert pulled.name == "mine:latest"
    assert entry_of(colleague, "mine").ref.origin == NAME


def test_a_url_that_tells_no_digest_is_held_to_the_locks(
    workspace: Workspace, colleague: Workspace, hub: FakeHub
) -> None:
    url = hub.url + hub.add_file("m.gguf", WEIGHTS)
    pull(workspace, url)
    lock = make_lock(workspace)

    assert pull_by(colleague, lock)[0].manifest == entry_of(workspace, url).ref.manifest
    hub.add_file("m.gguf", gguf(3, len(WEIGHTS)))
    blob_of(colleague, WEIGHTS).unlink()
    with pytest.raises(IntegrityError, match="digest mismatch"):
        pull_by(colleague, lock)


def test_when_hugging_face_is_gone_the_bytes_come_from_modelscope(
    workspace: Workspace, colleague: Workspace, hub: FakeHub
) -> None:
    """By their digests alone: the other hub's revisions are its own."""
    pull(workspace)
    with fake_hub() as modelscope:
        modelscope.add(REPO, FILES | {"model-Q4_K_M.gguf": WEIGHTS})
        moved = with_environ(colleague, HF_ENDPOINT=DEAD, MODELSCOPE_ENDPOINT=modelscope.url)

        (pulled,) = pull_by(moved, make_lock(workspace))

    assert pulled.manifest == entry_of(workspace).ref.manifest
    assert entry_of(moved).ref.origin == NAME
    assert hub.requests


def test_what_nobody_has_is_the_first_hubs_error(
    workspace: Workspace, colleague: Workspace
) -> None:
    pull(workspace)
    with fake_hub() as modelscope:
        modelscope.add(REPO, FILES | {"model-Q4_K_M.gguf": gguf(77)})
        moved = with_environ(colleague, HF_ENDPOINT=DEAD, MODELSCOPE_ENDPOINT=modelscope.url)

        with pytest.raises(NetworkError, match=r"127\.0\.0\.1:9"):
            pull_by(moved, make_lock(workspace))


def test_offline_a_lock_is_not_asked_for_anywhere(
    workspace: Workspace, tmp_path: Path, hub: FakeHub
) -> None:
    pull(workspace)
    offline = workspace_at(tmp_path / "colleague", hub.url, is_offline=True)

    with pytest.raises(OfflineError):
        pull_by(offline, make_lock(workspace))


def test_files_that_are_others_now_are_named(workspace: Workspace, colleague: Workspace) -> None:
    pull(workspace)
    lock = make_lock(workspace)
    lock["models"][NAME]["files"][0]["digest"] = digest(b"other")

    with pytest.raises(IntegrityError, match=r"model-Q4_K_M\.gguf has changed"):
        pull_by(colleague, lock)


def test_a_manifest_that_cannot_be_had_is_refused(
    workspace: Workspace, colleague: Workspace
) -> None:
    pull(workspace)
    lock = make_lock(workspace)
    lock["models"][NAME]["manifest"] = digest(b"other")

    with pytest.raises(IntegrityError, match=digest(b"other")):
        pull_by(colleague, lock)

    assert colleague.store.entries() == []


def test_what_was_made_here_cannot_be_locked(workspace: Workspace) -> None:
    pull(workspace)
    put_model(workspace.store, "made", [gguf(4)])

    assert list(make_lock(workspace)["models"]) == [NAME]
    for name in ("made", "guide"):
        with pytest.raises(UsageError, match=f"{name}:latest was not pulled"):
            make_lock(workspace, [NAME, name])
    with pytest.raises(ModelNotFoundError):
        make_lock(workspace, ["nosuch"])


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format_version": 1}', '{"models": {}}', "\0", "[" * 100_000, "\udcff"],
    ids=lambda text: text[:20],
)
def test_what_is_no_lock_file_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "models.lock"
    file.write_bytes(text.encode(errors="surrogateescape"))

    with pytest.raises(UsageError, match="not a lock file"):
        read_lock(str(file))


def test_a_later_format_asks_for_a_later_program(tmp_path: Path) -> None:
    file = tmp_path / "models.lock"
    file.write_text('{"format_version": 2, "models": {}}')

    with pytest.raises(UsageError) as caught:
        read_lock(str(file))

    assert caught.value.hint == "update localrun"


def test_a_lock_file_that_is_not_there_is_told_how_to_make(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        read_lock(str(tmp_path / "models.lock"))

    assert str(caught.value.hint).startswith("localrun lock > ")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("origin", None),
        ("origin", "../../etc/passwd"),
        ("origin", "not a name"),
        ("manifest", "sha256:../../x"),
        ("manifest", None),
        ("files", None),
        ("files", [{"name": "x"}]),
        ("files", [{"name": "x", "role": "boss", "digest": digest(b""), "size_bytes": 0}]),
        ("files", [{"name": "x", "role": "weights", "digest": "../x", "size_bytes": 0}]),
        ("files", [{"name": "x", "role": "weights", "digest": digest(b""), "size_bytes": "x"}]),
    ],
)
def test_an_entry_that_is_none_is_named(
    workspace: Workspace, hub: FakeHub, field: str, value: object
) -> None:
    entry: dict[str, object] = {
        "origin": NAME,
        "revision": None,
        "manifest": digest(b""),
        "files": [],
    }

    with pytest.raises(UsageError, match="the lock of mine"):
        plans_of(workspace, {"mine": entry | {field: value}})

    assert hub.requests == []
