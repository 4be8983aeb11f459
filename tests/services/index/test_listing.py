"""Lists of models: what did not change is not read again, and every change is seen."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from benchmarks.stock import UPDATED, fill_store

from localrun.gguf.reader import Reader
from localrun.names.parse import parse_name
from localrun.services.index import headers as headers_module
from localrun.services.models import Models
from localrun.services.naming import copy_model, move_model, remove_model
from localrun.services.show import describe_model
from localrun.services.workspace import Workspace
from localrun.settings import Settings
from localrun.store.blobs import BlobStore
from localrun.store.index import StoreIndex
from localrun.store.refs import StoredRef
from localrun.store.store import Store
from tests.store.building import damage
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from pathlib import Path

NUM_MODELS = 6
NUM_TOKENS = 2000
LATER_NS = int(HANG_S) * 10**9  # the test is over by then, on the busiest of machines


@dataclass(slots=True)
class Reads:
    """Number of reads by kind."""

    counts: Counter[str] = field(default_factory=Counter)

    def take(self) -> dict[str, int]:
        """Return the reads since the last call."""
        taken = dict(self.counts)
        self.counts.clear()
        return taken


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    reads = Reads()

    def spy(holder: Any, name: str, kind: str) -> None:
        function = getattr(holder, name)

        def counted(*arguments: Any, **options: Any) -> Any:
            reads.counts[kind] += 1
            return function(*arguments, **options)

        monkeypatch.setattr(holder, name, counted)

    spy(headers_module, "read_header", "header")
    spy(headers_module, "read_metadata", "metadata")
    spy(BlobStore, "read", "blob")
    spy(StoredRef, "from_json", "ref")
    return reads


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    fill_store(tmp_path / "store", NUM_MODELS, NUM_TOKENS)
    return opened(tmp_path)


def opened(folder: Path) -> Workspace:
    """Return a workspace as another process opens it."""
    settings = Settings(
        log_dir=folder, models_dir=folder / "store", prompts_dir=folder / "cache" / "prompts"
    )
    return Workspace(settings, {}, home=folder)


def index_path(workspace: Workspace) -> Path:
    (path,) = workspace.settings.index_dir.iterdir()
    return path


def names(workspace: Workspace) -> list[str]:
    return [model.name.removesuffix(":latest") for model in workspace.models.list_models()]


def blob_of(workspace: Workspace, name: str, role: str = "weights") -> Path:
    entry = workspace.store.find(parse_name(name))
    assert entry is not None
    if role == "manifest":
        return workspace.store.layout.blob(entry.ref.manifest)
    (digest,) = (layer.digest for layer in entry.manifest.layers if layer.role == role)
    return workspace.store.layout.blob(digest)


def settle(workspace: Workspace) -> None:
    """Make all files of the store look as if they were written long ago."""
    for path in workspace.store.layout.root.rglob("*"):
        os.utime(path, (1_700_000_000, 1_700_000_000))


ALL = ["guide", *(f"model-{number}" for number in range(NUM_MODELS))]


def test_the_second_list_reads_nothing(workspace: Workspace, reads: Reads) -> None:
    first = workspace.models.list_models()
    counts = reads.take()
    second = workspace.models.list_models()

    assert [model.name.removesuffix(":latest") for model in first] == ALL
    assert counts["header"] == NUM_MODELS + 2  # guide and its projector
    assert second is first
    assert reads.take() == {}


def test_another_process_reads_nothing_again(
    workspace: Workspace, tmp_path: Path, reads: Reads
) -> None:
    first = workspace.models.list_models()
    reads.take()

    second = opened(tmp_path).models.list_models()

    assert second == first
    assert second[1].modified.isoformat() == first[1].modified.isoformat()
    assert second[1].modified.timestamp() == first[1].modified.fromisoformat(UPDATED).timestamp()
    assert reads.take() == {}


def test_a_list_is_that_of_the_models(workspace: Workspace, tmp_path: Path) -> None:
    names(workspace)

    for process in (workspace, opened(tmp_path)):
        for summary in process.models.list_models():
            model = Models(process.store).find_model(summary.name)
            assert (summary.digest, summary.size_bytes) == (model.digest, model.size_bytes)
            assert (summary.modified, summary.details) == (model.modified, model.details)


def test_a_model_is_found_without_walking_its_vocabulary(
    workspace: Workspace, tmp_path: Path, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = workspace.models.find_model("model-1")
    describe_model(workspace, "model-1")
    reads.take()
    monkeypatch.setattr(Reader, "skip_strings", pytest.fail)

    process = opened(tmp_path)
    found = process.models.find_model("model-1")
    describe_model(process, "model-1")

    assert found == first
    assert "header" not in reads.take()


def test_a_template_in_the_weights_is_read_past_the_vocabulary(
    workspace: Workspace, tmp_path: Path, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(blob_of(workspace, "model-1"))
    first = workspace.models.find_model(path)
    reads.take()
    monkeypatch.setattr(Reader, "skip_strings", pytest.fail)

    found = opened(tmp_path).models.find_model(path)

    assert found.chat_template
    assert found == first
    assert reads.take() == {"metadata": 1}


def test_a_new_model_alone_is_read(workspace: Workspace, tmp_path: Path, reads: Reads) -> None:
    names(workspace)
    copy_model(workspace, parse_name("model-1"), parse_name("copied"))
    reads.take()

    for process in (workspace, opened(tmp_path)):
        assert names(process) == ["copied", *ALL]
        counts = reads.take()
        assert counts["ref"] == 1
        assert "header" not in counts


def test_changes_by_another_process_are_seen_at_once(workspace: Workspace, tmp_path: Path) -> None:
    names(workspace)
    other = opened(tmp_path)

    move_model(other, parse_name("model-1"), parse_name("renamed"))
    assert names(workspace) == sorted([*ALL[:2], *ALL[3:], "renamed"])
    remove_model(other, parse_name("model-2"))
    assert names(workspace) == sorted([*ALL[:2], *ALL[4:], "renamed"])
    before = {model.name: model.digest for model in workspace.models.list_models()}
    remove_model(other, parse_name("model-3"))
    copy_model(other, parse_name("model-4"), parse_name("model-3"))
    after = {model.name: model.digest for model in workspace.models.list_models()}
    assert after["model-3:latest"] == before["model-4:latest"] != before["model-3:latest"]


def test_a_name_that_means_another_model_is_read(workspace: Workspace, tmp_path: Path) -> None:
    copy_model(workspace, parse_name("model-1"), parse_name("kept"))
    before = {model.name: model.digest for model in workspace.models.list_models()}
    settle(workspace)
    names(workspace)

    copy_model(opened(tmp_path), parse_name("model-2"), parse_name("model-1"))

    for process in (workspace, opened(tmp_path)):
        after = {model.name: model.digest for model in process.models.list_models()}
        assert after == {**before, "model-1:latest": before["model-2:latest"]}


@pytest.mark.parametrize("role", ["weights", "recipe", "template", "license", "manifest"])
@pytest.mark.parametrize("change", ["gone", "damaged", "cut"])
def test_a_damaged_model_is_left_out_although_the_index_has_it(
    workspace: Workspace, tmp_path: Path, role: str, change: str
) -> None:
    names(workspace)
    path = blob_of(workspace, "model-1", role)
    if change == "gone":
        path.unlink()
    else:  # the weights are one file by hard links
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content[:-1] if change == "cut" else content)
        if change == "damaged":
            damage(path)

    for process in (workspace, opened(tmp_path)):
        assert names(process) == [name for name in ALL if name != "model-1"]


def test_a_repaired_model_is_listed_again(workspace: Workspace, tmp_path: Path) -> None:
    path = blob_of(workspace, "model-1", "recipe")
    content = path.read_bytes()
    path.unlink()
    process = opened(tmp_path)
    assert "model-1" not in names(process)

    path.write_bytes(content)

    assert names(process) == ALL


def test_lines_of_removed_models_leave_the_index(workspace: Workspace) -> None:
    names(workspace)
    digest = blob_of(workspace, "model-1").name
    before = index_path(workspace).read_text()
    remove_model(workspace, parse_name("model-1"))

    names(workspace)

    after = index_path(workspace).read_text()
    assert (before.count(digest), after.count(digest)) == (2, 0)
    assert "model-2:latest" in after
    assert "guide.gguf" in after


@pytest.mark.parametrize(
    "wrong",
    [None, 7, [], {}, "text", {"stamp": [1, 2]}, {"stamp": [True, 1.5, "3"]}, [[]] * 3],
)
def test_a_line_of_the_wrong_type_is_read_anew(
    workspace: Workspace, tmp_path: Path, wrong: object
) -> None:
    expected = workspace.models.list_models()
    index = StoreIndex(index_path(workspace))
    index.get("any")
    for key in list(index._lines):
        index.put(key, wrong)
    index.save()

    assert opened(tmp_path).models.list_models() == expected


FIELDS = ["name", "manifest", "size", "updated", "details", "blobs", "stamp"]
FIELDS += ["inputs", "own_template", "parameters", "arrays", "digest"]


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("wrong", [None, True, -1.5, "../../x", [["../x", None]], {"a": 1}])
def test_a_field_of_the_wrong_type_is_read_anew(
    workspace: Workspace, tmp_path: Path, name: str, wrong: object
) -> None:
    expected = workspace.models.list_models()
    index = StoreIndex(index_path(workspace))
    index.get("any")
    for key in list(index._lines):
        value = json.loads(index._lines[key])
        if name in value:
            index.put(key, {**value, name: wrong})
    index.save()
    wanted = [(model.name, model.digest) for model in expected]
    if (name, wrong) == ("name", "../../x"):  # a text is a text
        return

    process = opened(tmp_path)

    assert [(model.name, model.digest) for model in process.models.list_models()] == wanted
    assert process.models.find_model("model-1").chat_template


def test_wrong_ends_of_arrays_are_noticed(workspace: Workspace, tmp_path: Path) -> None:
    path = str(blob_of(workspace, "model-1"))
    template = workspace.models.find_model(path).chat_template
    index = StoreIndex(index_path(workspace))
    index.get("any")
    for key in list(index._lines):
        value = json.loads(index._lines[key])
        index.put(key, {**value, "arrays": [[start, 12] for start, _ in value["arrays"]]})
    index.save()

    assert opened(tmp_path).models.find_model(path).chat_template == template


def test_an_unwritable_cache_means_no_index(workspace: Workspace, reads: Reads) -> None:
    workspace.settings.index_dir.parent.mkdir()
    workspace.settings.index_dir.write_bytes(b"in the way")

    first = workspace.models.list_models()
    reads.take()

    assert workspace.models.list_models() is first
    assert reads.take() == {}


def test_a_file_that_was_just_written_is_not_trusted(workspace: Workspace, reads: Reads) -> None:
    recipe = blob_of(workspace, "model-1", "recipe")
    os.utime(recipe)
    written_ns = recipe.stat().st_mtime_ns + LATER_NS
    os.utime(recipe, ns=(written_ns, written_ns))

    first = workspace.models.list_models()
    reads.take()
    second = workspace.models.list_models()

    assert second == first
    assert reads.take()["blob"] == 4  # the manifest and three texts of one model


def test_own_models_hide_those_of_a_read_only_store(tmp_path: Path, reads: Reads) -> None:
    fill_store(tmp_path / "own", 1, NUM_TOKENS)
    fill_store(tmp_path / "shared", 2, NUM_TOKENS)
    models = Models(Store(tmp_path / "own", [tmp_path / "shared"]))
    first = models.list_models()
    reads.take()

    assert [model.name for model in first] == ["guide:latest", "model-0:latest", "model-1:latest"]
    assert models.list_models() is first
    assert reads.take() == {}


def test_many_threads_list_the_same(workspace: Workspace, reads: Reads) -> None:
    lists: list[Any] = []
    threads = [
        threading.Thread(target=lambda: lists.append(workspace.models.list_models()))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert all(models == lists[0] for models in lists)
    assert reads.take()["ref"] == NUM_MODELS


def test_names_are_known_without_reading_models(
    workspace: Workspace, tmp_path: Path, reads: Reads
) -> None:
    expected = [f"{name}:latest" for name in ALL]

    assert workspace.models.names() == expected
    assert reads.take() == {"ref": NUM_MODELS}
    names(workspace)
    reads.take()
    blob_of(workspace, "model-1").unlink()
    reads.take()

    assert opened(tmp_path).models.names() == expected
    assert reads.take() == {}


def test_another_model_shares_the_blobs_of_its_copy(
    workspace: Workspace, tmp_path: Path, reads: Reads
) -> None:
    copy_model(workspace, parse_name("model-1"), parse_name("copied"))
    reads.take()

    for process in (workspace, opened(tmp_path)):
        sizes = {
            name: describe_model(process, name).shared_bytes for name in ("model-1", "model-2")
        }
        assert sizes["model-2"] == 0
        assert sizes["model-1"] == process.models.find_model("model-1").size_bytes
        names(process)
