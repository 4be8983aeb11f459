"""Every way to write a store or an archive on a disk that is full at any byte.

The law: one `StorageError`, nothing under a complete name that is not complete, nothing
left over, and the same act works once there is room.
"""

from __future__ import annotations

import functools
import io
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from localrun.errors import StorageError
from localrun.modelfile.parse import parse_modelfile
from localrun.names.parse import parse_name
from localrun.services.creating.create import CreateOptions, create_model
from localrun.services.creating.uploads import Uploads
from localrun.services.importing import import_path
from localrun.services.naming import copy_model
from localrun.services.progress import SilentReport
from localrun.store import adopt
from localrun.store.adopt import AdoptMode
from localrun.store.archive import export_model, import_archive
from localrun.store.blobs import file_digest
from tests.fakes.full_disk import FailingCalls, FullDisk
from tests.fakes.hub import fake_hub
from tests.registry.conftest import keep_apart
from tests.services.making import FILES, REPO, digest, gguf, pull, workspace_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from localrun.services.workspace import Workspace

SIZE = 40_000
CHUNK = 16_384  # in place of megabytes, so that a file has several
WEIGHTS = gguf(5, SIZE)
RECIPE = 'FROM ./weights.gguf\nSYSTEM "be brief"\nPARAMETER temperature 0.5\n'


@functools.cache
def full_disk() -> FullDisk:
    return FullDisk()


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    keep_apart(monkeypatch, tmp_path)
    monkeypatch.setattr(adopt, "CHUNK_BYTES", CHUNK)
    (tmp_path / "weights.gguf").write_bytes(WEIGHTS)
    _archive()  # now: later its calls would be counted
    with fake_hub() as hub:
        hub.add(REPO, FILES)
        yield workspace_at(tmp_path, hub.url)


def do_pull(workspace: Workspace) -> None:
    pull(workspace)


def do_create_copy(workspace: Workspace) -> None:
    _create(workspace, AdoptMode.COPY)


def do_create_link(workspace: Workspace) -> None:
    _create(workspace, AdoptMode.LINK)


def do_import_file(workspace: Workspace) -> None:
    import_path(
        workspace, workspace.home.parent / "weights.gguf", parse_name("made"), SilentReport()
    )


def do_import_archive(workspace: Workspace) -> None:
    import_archive(workspace.store, io.BytesIO(_archive()))


def do_copy_embedded(workspace: Workspace) -> None:
    copy_model(workspace, parse_name("guide"), parse_name("mine"))


def do_upload(workspace: Workspace) -> None:
    uploads = Uploads(workspace.store)
    upload = uploads.begin(digest(WEIGHTS), SIZE)
    try:
        for start in range(0, SIZE, CHUNK):
            upload.write(WEIGHTS[start : start + CHUNK])
        upload.finish()
    finally:
        upload.close()
        uploads.close()


def _create(workspace: Workspace, adopt_mode: AdoptMode) -> None:
    create_model(
        workspace,
        parse_name("made"),
        parse_modelfile(RECIPE.encode()),
        folder=workspace.home.parent,
        options=CreateOptions(adopt_mode=adopt_mode),
    )


@functools.cache
def _archive() -> bytes:
    """Return a model with these weights as an archive."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "weights.gguf").write_bytes(WEIGHTS)
        workspace = workspace_at(Path(folder), "http://127.0.0.1:9")
        do_import_file(workspace)
        entry = workspace.store.find(parse_name("made"))
        assert entry is not None
        out = io.BytesIO()
        export_model(workspace.store, entry, out)
        return out.getvalue()


ACTS = [
    do_pull,
    do_create_copy,
    do_create_link,
    do_import_file,
    do_import_archive,
    do_copy_embedded,
    do_upload,
]


def assert_sound(workspace: Workspace, *, may_have_partial: bool) -> None:
    """Every blob is what its name says, every name is whole, and nothing is left over."""
    layout = workspace.store.layout
    if not layout.blobs.is_dir():
        return
    for path in layout.blobs.iterdir():
        assert file_digest(path) == f"sha256:{path.name}"
    for entry in workspace.store.entries():
        for blob in entry.manifest.blobs:
            assert workspace.store.blobs.find(blob.digest, blob.size_bytes) is not None
    for folder in (layout.tmp, layout.leases):
        assert not folder.is_dir() or list(folder.iterdir()) == []
    assert may_have_partial or not list(layout.partial.glob("*/data"))


def fresh(workspace: Workspace, number: int) -> Workspace:
    """Return the workspace with an empty store of its own."""
    folder = workspace.home.parent / f"at-{number}"
    folder.mkdir()
    (folder / "weights.gguf").write_bytes(WEIGHTS)
    return workspace_at(folder, workspace.environ["HF_ENDPOINT"])


def act_until_full(workspace: Workspace, act: Callable[[Workspace], None]) -> StorageError | None:
    try:
        act(workspace)
    except StorageError as error:
        return error
    return None


@pytest.mark.parametrize("act", ACTS)
def test_any_file_that_gets_no_byte_or_one_too_few_fails_and_the_next_try_works(
    act: Callable[[Workspace], None], workspace: Workspace
) -> None:
    disk, counting = full_disk(), fresh(workspace, 0)
    with disk.below(counting.settings.models_dir):
        act(counting)
    num_files = disk.num_opened
    places = [(number, limit) for number in range(num_files) for limit in (0, 100)]
    places += [(0, limit) for limit in (1, CHUNK - 1, CHUNK, CHUNK + 1, SIZE // 2, SIZE - 1)]
    num_failed = 0

    for number, (num_good, limit) in enumerate(places, start=1):
        own = fresh(workspace, number)
        with disk.below(own.settings.models_dir, num_good=num_good, limit_bytes=limit):
            error = act_until_full(own, act)
        assert error is None or (error.exit_code, error.hint is not None) == (8, True)
        assert_sound(own, may_have_partial=act is do_pull)
        act(own)
        assert_sound(own, may_have_partial=False)
        num_failed += error is not None

    assert num_failed > len(places) / 4  # else no fault was met


@pytest.mark.parametrize("act", ACTS)
def test_any_call_that_finds_the_disk_full_says_so_and_the_next_try_works(
    act: Callable[[Workspace], None], workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, counting = FailingCalls(monkeypatch), fresh(workspace, 0)
    with calls.behind(None):
        act(counting)
    num_calls = calls.num_calls

    for num_good in range(num_calls):
        own = fresh(workspace, num_good + 1)
        with calls.behind(num_good):
            error = act_until_full(own, act)
        assert error is not None, num_good
        assert error.message.endswith("is full"), error.message
        assert_sound(own, may_have_partial=act is do_pull)
        act(own)
        assert_sound(own, may_have_partial=False)
