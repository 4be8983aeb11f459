"""Pull a model: what is fetched, kept, refused and continued."""

from __future__ import annotations

import errno
import shutil
from typing import TYPE_CHECKING, NamedTuple

import pytest

from localrun.errors import IntegrityError, NetworkError, StorageError
from localrun.names.parse import parse_name
from localrun.registry.transfer import disk
from localrun.services.pulling.pull import PullOptions, pull_model
from localrun.store.manifest import Role
from localrun.system.locks import NoLocksError
from tests.fakes.hub import FakeHub, Fault, fake_hub
from tests.services.making import (
    DEAD,
    FILES,
    LICENCE,
    NAME,
    REPO,
    TEMPLATE,
    WEIGHTS,
    Told,
    blob_of,
    digest,
    entry_of,
    gguf,
    names_in,
    pull,
    with_environ,
    workspace_at,
)
from tests.store.building import blob_names, damage

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.services.workspace import Workspace

SHARDS = [f"b-Q8_0-0000{number}-of-00003.gguf" for number in (1, 2, 3)]


class Space(NamedTuple):
    """What `shutil.disk_usage` returns."""

    total: int
    used: int
    free: int


def partial_names(workspace: Workspace) -> list[str]:
    return [path.name for path in workspace.store.layout.partial.iterdir()]


def test_a_pulled_model_has_all_its_files_and_says_where_it_is_from(
    workspace: Workspace, hub: FakeHub
) -> None:
    pulled = pull(workspace)

    entry = entry_of(workspace)
    assert pulled.is_changed
    assert pulled.fetched_bytes == pulled.size_bytes
    assert pulled.size_bytes == sum(layer.size_bytes for layer in entry.manifest.layers)
    assert [layer.role for layer in entry.manifest.layers] == [
        Role.WEIGHTS,
        Role.PROJECTOR,
        Role.TEMPLATE,
        Role.LICENSE,
    ]
    assert blob_of(workspace, WEIGHTS).read_bytes() == WEIGHTS
    assert blob_of(workspace, TEMPLATE).read_bytes() == TEMPLATE
    assert (entry.ref.origin, entry.ref.choice) == (NAME, "Q4_K_M")
    assert entry.ref.revision == hub.repos[REPO].head.commit
    assert partial_names(workspace) == []


def test_what_was_chosen_is_told_and_recorded(workspace: Workspace) -> None:
    told = Told()

    pulled = pull(workspace, f"hf:{REPO}", told)

    entry = entry_of(workspace, f"hf:{REPO}")
    assert pulled.name == f"hf.co/{REPO}:latest"
    assert "Q4_K_M was chosen" in told.notes[0]
    assert (entry.ref.origin, entry.ref.choice) == (NAME, "Q4_K_M")


def test_all_files_end_complete_in_the_report(workspace: Workspace) -> None:
    told = Told()

    pulled = pull(workspace, told=told)

    assert told.begun == [(pulled.size_bytes, 4)]
    assert sum(done for done, _ in told.ended.values()) == pulled.size_bytes
    assert all(done == total for done, total in told.ended.values())


def test_to_pull_again_fetches_no_file(workspace: Workspace, hub: FakeHub) -> None:
    first = pull(workspace)
    num_asked = len(hub.file_requests)

    again = pull(with_environ(workspace))

    assert (again.fetched_bytes, again.is_changed) == (0, False)
    assert again.manifest == first.manifest
    assert len(hub.file_requests) == num_asked


def test_what_two_models_share_is_fetched_once(workspace: Workspace) -> None:
    pull(workspace)

    other = pull(workspace, f"hf.co/{REPO}:Q8_0")

    assert other.fetched_bytes == len(FILES["model-Q8_0.gguf"])


def test_only_what_has_changed_is_fetched(workspace: Workspace, hub: FakeHub) -> None:
    first = pull(workspace)
    new = gguf(1)
    hub.replace(REPO, "model-Q4_K_M.gguf", new)

    again = pull(workspace)

    assert again.is_changed
    assert again.manifest != first.manifest
    assert again.fetched_bytes == len(new)
    assert blob_of(workspace, WEIGHTS).exists()  # until a prune


def test_a_template_that_has_changed_is_fetched_though_the_hub_tells_no_digest(
    workspace: Workspace, hub: FakeHub
) -> None:
    pull(workspace)
    hub.replace(REPO, "chat_template.jinja", b"x" * len(TEMPLATE))

    again = pull(workspace)

    assert again.is_changed
    assert again.fetched_bytes == len(TEMPLATE)


def test_all_shards_come_in_order(workspace: Workspace, hub: FakeHub) -> None:
    hub.add("owner/split", {name: gguf(seed) for seed, name in enumerate(reversed(SHARDS))})

    pull(workspace, "hf:owner/split")

    layers = entry_of(workspace, "hf:owner/split").manifest.with_role(Role.WEIGHTS)
    assert [layer.name for layer in layers] == SHARDS
    assert [layer.digest for layer in layers] == [digest(gguf(seed)) for seed in (2, 1, 0)]


def test_a_pull_that_was_cut_goes_on_with_the_bytes_it_has(
    workspace: Workspace, hub: FakeHub
) -> None:
    big = gguf(5, 3_000_000)
    hub.replace(REPO, "model-Q4_K_M.gguf", big)
    hub.faults += [
        Fault.cut(2_000_000, path="model-Q4", count=1),
        Fault.status(404, path="model-Q4", count=99),
    ]
    alone = with_environ(workspace, MODELSCOPE_ENDPOINT=DEAD)

    with pytest.raises(NetworkError):
        pull_model(alone, parse_name(NAME), PullOptions(num_streams=1))
    hub.faults.clear()
    hub.requests.clear()
    pulled = pull_model(with_environ(alone), parse_name(NAME), PullOptions(num_streams=1))

    assert blob_of(workspace, big).read_bytes() == big
    asked = [one.range for one in hub.file_requests if "model-Q4" in one.path]
    assert all(part is not None and part[0] >= 1 << 20 for part in asked)
    assert pulled.is_changed
    assert pulled.fetched_bytes < 2_000_000


def test_wrong_bytes_are_refused_and_nothing_of_them_stays(
    workspace: Workspace, hub: FakeHub
) -> None:
    hub.faults.append(Fault.flip(10_000, path="model-Q4", count=99))

    with pytest.raises(IntegrityError, match="digest mismatch"):
        pull(workspace)

    assert names_in(workspace) == []
    assert digest(WEIGHTS) not in blob_names(workspace.store.layout)
    assert not list(workspace.store.layout.partial.rglob("data"))


def test_a_page_in_the_place_of_a_model_is_refused(workspace: Workspace, hub: FakeHub) -> None:
    hub.add("owner/page", {"model-Q4_K_M.gguf": b"<html>not here</html>"})

    with pytest.raises(IntegrityError, match="not a GGUF file"):
        pull(workspace, "hf:owner/page")

    assert names_in(workspace) == []


def test_a_pull_that_fails_leaves_the_model_before_it_whole(
    workspace: Workspace, hub: FakeHub
) -> None:
    first = pull(workspace)
    hub.replace(REPO, "model-Q4_K_M.gguf", gguf(1))
    hub.faults.append(Fault.flip(10_000, path="model-Q4", count=99))

    with pytest.raises(IntegrityError):
        pull(workspace)

    assert entry_of(workspace).ref.manifest == first.manifest
    assert blob_of(workspace, WEIGHTS).read_bytes() == WEIGHTS


def test_a_full_disk_is_told_before_anything_is_fetched(
    workspace: Workspace, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All files together do not fit, though each alone does."""
    hub.add("owner/split", {name: gguf(seed, 30_000_000) for seed, name in enumerate(SHARDS)})
    free = disk.SPARE_BYTES + 70_000_000
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Space(free, 0, free))

    with pytest.raises(StorageError, match=r"needs 0\.09 GB, .* has 0\.10 GB") as caught:
        pull(workspace, "hf:owner/split")

    assert "prune" in str(caught.value.hint)
    assert hub.file_requests == []


def test_what_came_before_counts_as_space_that_is_not_needed(
    workspace: Workspace, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    pull(workspace)
    free = disk.SPARE_BYTES + len(FILES["model-Q8_0.gguf"]) + len(TEMPLATE) + len(LICENCE)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Space(free, 0, free))

    assert pull(workspace, f"hf.co/{REPO}:Q8_0").is_changed
    assert pull(workspace).fetched_bytes == 0
    assert len(hub.file_requests) >= 5


@pytest.mark.parametrize("what", ["ref", "manifest", "cut"])
def test_a_damaged_model_is_mended_by_a_pull(workspace: Workspace, what: str) -> None:
    pulled = pull(workspace)
    entry, layout = entry_of(workspace), workspace.store.layout
    if what == "ref":
        layout.ref(entry.ref.parsed.key).write_text("{")
    elif what == "manifest":
        damage(layout.blob(entry.ref.manifest))
    else:
        blob = blob_of(workspace, WEIGHTS)
        blob.chmod(0o644)
        blob.write_bytes(WEIGHTS[:-5])

    again = pull(workspace)

    assert again.manifest == pulled.manifest
    assert entry_of(workspace).ref.origin == NAME
    assert blob_of(workspace, WEIGHTS).read_bytes() == WEIGHTS


def test_when_hugging_face_breaks_in_mid_file_modelscope_goes_on(
    workspace: Workspace, hub: FakeHub
) -> None:
    big = gguf(5, 3_000_000)
    hub.replace(REPO, "model-Q4_K_M.gguf", big)
    hub.faults += [Fault.cut(1_500_000, path=".gguf"), Fault.status(503, path=".gguf", count=500)]
    with fake_hub() as modelscope:
        modelscope.add(REPO, {"other name.gguf": big} | FILES)
        both = with_environ(workspace, MODELSCOPE_ENDPOINT=modelscope.url)

        pull_model(both, parse_name(f"hf:{REPO}/model-Q4_K_M.gguf"), PullOptions(num_streams=1))

        there = [one.range for one in modelscope.file_requests if "other" in one.path]
    assert blob_of(workspace, big).read_bytes() == big
    assert there
    assert all(part is not None and part[0] >= 1 << 20 for part in there)


def test_a_mirror_of_the_settings_is_used_with_the_others(tmp_path: Path, hub: FakeHub) -> None:
    big = gguf(5, 3_000_000)
    hub.replace(REPO, "model-Q4_K_M.gguf", big)
    hub.faults.append(Fault.status(503, path="model-Q4", count=500))
    with fake_hub() as mirror:
        mirror.add(REPO, FILES | {"model-Q4_K_M.gguf": big})
        workspace = workspace_at(tmp_path, hub.url, mirrors=(mirror.url,))

        pull(workspace)

        assert [one for one in mirror.file_requests if "model-Q4" in one.path]
    assert blob_of(workspace, big).read_bytes() == big


def test_a_mirror_with_other_bytes_does_no_harm(tmp_path: Path, hub: FakeHub) -> None:
    hub.faults.append(Fault.status(503, path="model-Q4", count=3))
    with fake_hub() as mirror:
        mirror.add(REPO, FILES | {"model-Q4_K_M.gguf": gguf(66, len(WEIGHTS))})
        workspace = workspace_at(tmp_path, hub.url, mirrors=(mirror.url,))

        pull(workspace)

    assert blob_of(workspace, WEIGHTS).read_bytes() == WEIGHTS


def test_a_token_goes_to_no_mirror(tmp_path: Path, hub: FakeHub) -> None:
    hub.faults.append(Fault.status(503, path=".gguf", count=500))
    with fake_hub() as mirror:
        mirror.add(REPO, FILES)
        workspace = workspace_at(tmp_path, hub.url, mirrors=(mirror.url,))
        known = with_environ(workspace, HF_TOKEN=hub.token, MODELSCOPE_ENDPOINT=DEAD)

        pull(known, f"hf:{REPO}/model-Q4_K_M.gguf")

        assert mirror.requests
        assert all("Authorization" not in request.headers for request in mirror.requests)


def test_a_url_is_pulled_and_its_digest_kept_to(workspace: Workspace, hub: FakeHub) -> None:
    url = hub.url + hub.add_file("my model.gguf", WEIGHTS).replace(" ", "%20")

    pulled = pull(workspace, f"{url}#{digest(WEIGHTS).replace(':', '=')}")

    assert pulled.size_bytes == len(WEIGHTS)
    assert entry_of(workspace, pulled.name).manifest.layers[0].name == "my model.gguf"
    with pytest.raises(IntegrityError):
        pull(workspace, f"{url}#sha256={'0' * 64}")


def test_a_url_whose_version_is_here_is_not_fetched_again(
    workspace: Workspace, hub: FakeHub
) -> None:
    url = hub.url + hub.add_file("m.gguf", WEIGHTS, etag='"one"')
    pull(workspace, url)
    asked = len(hub.file_requests)

    pull(workspace, url)

    assert [request.headers["Range"] for request in hub.file_requests[asked:]] == ["bytes=0-0"]


def test_a_url_without_a_digest_is_new_only_once(workspace: Workspace, hub: FakeHub) -> None:
    url = hub.url + hub.add_file("m.gguf", WEIGHTS)
    pull(workspace, url)

    again = pull(workspace, url)

    assert (again.fetched_bytes, again.is_changed) == (0, False)


def test_a_digest_is_no_part_of_the_name_that_a_model_gets(workspace: Workspace) -> None:
    manifest = pull(workspace).manifest

    pulled = pull(workspace, f"{NAME}@{manifest}")

    assert pulled.name == NAME
    assert names_in(workspace) == [NAME]
    assert not pulled.is_changed


def test_where_a_file_system_has_no_locks_a_pull_waits_for_nobody(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object, **__: object) -> None:
        raise NoLocksError(errno.ENOLCK, "no locks")

    monkeypatch.setattr("localrun.store.locks.lock", no_locks)
    monkeypatch.setattr("localrun.store.locks.unlock", no_locks)

    assert pull(workspace).is_changed
