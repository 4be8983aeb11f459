"""Models as archives: out of one store, through a pipe, into another."""

from __future__ import annotations

import io
import json
import os
import tarfile
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localrun.errors import IntegrityError, StorageError, UsageError
from localrun.names.parse import parse_name
from localrun.store.archive import export_model, import_archive
from localrun.store.archive_names import NameConflictError
from localrun.store.garbage import collect_garbage
from localrun.store.store import Store
from localrun.store.tar import write_end, write_member
from tests.store.building import (
    WEIGHTS,
    blob_names,
    damage,
    manifest_of,
    new_store,
    put_model,
    ref_paths,
    sha256,
    snapshot,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

REF_NAME = "org.opencontainers.image.ref.name"


def exported(store: Store, name: str = "model") -> bytes:
    entry = store.find(parse_name(name))
    assert entry is not None
    out = io.BytesIO()
    assert export_model(store, entry, out) == len(out.getvalue())
    return out.getvalue()


def imported(
    store: Store, content: bytes, name: str | None = None, *, is_forced: bool = False
) -> list[str]:
    ref = None if name is None else parse_name(name)
    stored = import_archive(store, io.BytesIO(content), name=ref, is_forced=is_forced)
    return [ref.name for ref in stored]


def archive_of(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    for name, content in files.items():
        write_member(out, name, len(content), [content])
    write_end(out)
    return out.getvalue()


def files_of(content: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        infos = archive.getmembers()
        return {info.name: (archive.extractfile(info) or io.BytesIO()).read() for info in infos}


def model_files(layers: Sequence[bytes] = (WEIGHTS,)) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Return the blobs of a model by their names in an archive, and its descriptor."""
    manifest, config = manifest_of(layers)
    content = manifest.to_bytes()
    blobs = {f"blobs/sha256/{sha256(blob)[7:]}": blob for blob in (content, config, *layers)}
    media_type = manifest.media_type
    return blobs, {"mediaType": media_type, "digest": sha256(content), "size": len(content)}


def index_of(*described: Mapping[str, Any]) -> bytes:
    return json.dumps({"schemaVersion": 2, "manifests": list(described)}).encode()


def named(described: Mapping[str, Any], name: str, key: str = REF_NAME) -> dict[str, Any]:
    return {**described, "annotations": {key: name}}


def assert_sound(store: Store) -> None:
    """Every blob is what its name says and nothing is left over."""
    for digest in blob_names(store.layout):
        store.blobs.read(digest, max_bytes=1 << 20)
    assert list(store.layout.tmp.iterdir()) == list(store.layout.leases.iterdir()) == []


def test_an_archive_is_an_oci_image_layout(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    stored = put_model(store, "model")
    manifest, config = manifest_of([WEIGHTS])

    files = files_of(exported(store))

    blobs = [stored.manifest, sha256(config), sha256(WEIGHTS)]
    assert list(files) == [
        "oci-layout",
        "index.json",
        *(f"blobs/sha256/{digest[7:]}" for digest in blobs),
    ]
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    assert json.loads(files["index.json"])["manifests"] == [
        {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": stored.manifest,
            "size": len(manifest.to_bytes()),
            "annotations": {REF_NAME: "model:latest"},
        }
    ]


def test_the_same_model_is_the_same_bytes(tmp_path: Path) -> None:
    archives = []
    for number in range(2):
        store = new_store(tmp_path / str(number))
        put_model(store, "model")
        archives.append(exported(store))

    assert archives[0] == archives[1]


@given(
    layers=st.lists(st.binary(max_size=2000), min_size=1, max_size=4),
    name=st.sampled_from(["model", "a/b:c", "hf.co/o/r/dir/模型.gguf@v1", "https://h/a%20b.gguf"]),
)
@settings(max_examples=25, deadline=None)
def test_what_is_exported_is_imported_as_the_same_model(
    layers: list[bytes], name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ours = new_store(tmp_path_factory.mktemp("ours"))
    theirs = Store(tmp_path_factory.mktemp("theirs") / "store")
    stored = put_model(ours, name, layers)

    imported(theirs, exported(ours, name), is_forced=True)

    entry = theirs.find(parse_name(name))
    assert entry is not None
    assert entry.ref.manifest == stored.manifest
    assert blob_names(theirs.layout) == blob_names(ours.layout)
    assert_sound(theirs)


@given(where=st.floats(0, 1, exclude_max=True))
@settings(max_examples=40, deadline=None)
def test_an_archive_that_is_cut_leaves_whole_blobs_and_no_name_and_can_be_imported_again(
    where: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ours = new_store(tmp_path_factory.mktemp("ours"))
    theirs = Store(tmp_path_factory.mktemp("theirs"))
    put_model(ours, "model", [b"one" * 300, b"two" * 300])
    whole = exported(ours)

    with pytest.raises(IntegrityError, match="truncated") as caught:
        imported(theirs, whole[: int(where * len(whole))])

    assert "again" in (caught.value.hint or "")
    assert ref_paths(theirs.layout) == []
    assert f"; {len(blob_names(theirs.layout))} complete files" in caught.value.message
    assert_sound(theirs)
    assert imported(theirs, whole) == ["model:latest"]


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_changed_byte_never_gets_a_wrong_blob_in(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = Store(tmp_path_factory.mktemp("store"))
    blobs, described = model_files()
    files = {"index.json": index_of(named(described, "model")), **blobs}
    content = bytearray(archive_of(files))
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))

    try:
        imported(store, bytes(content))
    except (IntegrityError, UsageError):
        assert ref_paths(store.layout) == []

    assert_sound(store)


@given(order=st.permutations(range(5)))
@settings(max_examples=20, deadline=None)
def test_members_come_in_any_order(
    order: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    blobs, described = model_files()
    files = {"index.json": index_of(named(described, "model")), "oci-layout": b"{}", **blobs}
    shuffled = {list(files)[place]: files[list(files)[place]] for place in order}

    assert imported(Store(tmp_path_factory.mktemp("s")), archive_of(shuffled)) == ["model:latest"]


def test_a_model_goes_through_a_pipe(tmp_path: Path) -> None:
    ours, theirs = new_store(tmp_path / "ours"), Store(tmp_path / "theirs")
    put_model(ours, "model", [b"x" * 300_000])
    entry = ours.find(parse_name("model"))
    assert entry is not None
    reader, writer = os.pipe()

    def export() -> None:
        with os.fdopen(writer, "wb") as out:
            export_model(ours, entry, out)

    thread = threading.Thread(target=export)
    with os.fdopen(reader, "rb", buffering=0) as source:
        thread.start()
        stored = import_archive(theirs, source)
        thread.join()

    assert [ref.name for ref in stored] == ["model:latest"]


@pytest.mark.parametrize("how", ["damaged", "cut", "missing"])
def test_a_damaged_blob_is_named_and_cuts_the_archive(how: str, tmp_path: Path) -> None:
    store = new_store(tmp_path / "ours")
    put_model(store, "model")
    path = store.blobs.path(sha256(WEIGHTS))
    damage(path)
    if how == "cut":
        os.truncate(path, 3)
    if how == "missing":
        path.unlink()
    entry = store.find(parse_name("model"))
    assert entry is not None
    out = io.BytesIO()

    with pytest.raises(IntegrityError, match=sha256(WEIGHTS)[7:]):
        export_model(store, entry, out)

    theirs = Store(tmp_path / "theirs")
    with pytest.raises(IntegrityError):
        imported(theirs, out.getvalue())
    assert ref_paths(theirs.layout) == []


def test_a_blob_that_is_here_is_skipped_whatever_the_archive_says_of_it(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    put_model(store, "first")
    before = store.blobs.path(sha256(WEIGHTS)).stat()
    blobs, described = model_files()
    blobs[f"blobs/sha256/{sha256(WEIGHTS)[7:]}"] = bytes(len(WEIGHTS))

    imported(store, archive_of({"index.json": index_of(named(described, "second")), **blobs}))

    assert store.blobs.path(sha256(WEIGHTS)).stat() == before
    assert_sound(store)


def test_blobs_of_a_cut_archive_stay_until_a_sweep(tmp_path: Path) -> None:
    store = Store(tmp_path)
    blobs, _ = model_files()

    with pytest.raises(IntegrityError):
        imported(store, archive_of(blobs)[:-1024])

    assert len(blob_names(store.layout)) == 3
    assert len(collect_garbage(store).blobs) == 3


def test_a_model_gets_all_its_names_and_several_models_theirs(tmp_path: Path) -> None:
    store = Store(tmp_path)
    one, described_one = model_files([b"one"])
    two, described_two = model_files([b"two"])
    index = index_of(
        named(described_one, "one"),
        named(described_one, "uno:1"),
        named(described_two, "two@" + str(described_one["digest"])),
        named(described_one, "docker.io/ai/one:x", "io.containerd.image.name"),
    )

    names = imported(store, archive_of({**one, **two, "index.json": index}), is_forced=True)

    assert names == ["one:latest", "uno:1", "two:latest", "docker.io/ai/one:x"]
    assert [entry.ref.name for entry in store.entries()] == sorted(names)


@pytest.mark.parametrize("name", ["model", "guide", "hf.co/a/b:Q8_0", "https://h/a.gguf"])
@pytest.mark.parametrize("is_index_first", [True, False])
def test_a_name_that_needs_consent_is_not_taken_without_it(
    name: str, tmp_path: Path, *, is_index_first: bool
) -> None:
    store = new_store(tmp_path)
    put_model(store, "model", [b"ours"])
    before = snapshot(store.layout.refs)
    blobs, described = model_files([b"theirs"])
    index = {"index.json": index_of(named(described, name))}
    content = archive_of(index | blobs if is_index_first else blobs | index)

    with pytest.raises(NameConflictError, match=r"another model|registry's name") as caught:
        imported(store, content)

    assert "--force" in (caught.value.hint or "")
    assert snapshot(store.layout.refs) == before
    assert (store.blobs.find(sha256(b"theirs")) is None) == is_index_first
    assert imported(store, content, "other") == ["other:latest"]
    (taken,) = imported(store, content, is_forced=True)
    assert imported(store, content) == [taken]  # the same content is no conflict
    assert store.find(parse_name(taken)) == store.find(parse_name(name))


def test_a_name_that_is_typed_replaces_no_model_either_but_may_be_a_registrys(
    tmp_path: Path,
) -> None:
    store = new_store(tmp_path)
    put_model(store, "hf.co/a/b", [b"ours"])
    blobs, described = model_files([b"theirs"])
    content = archive_of({"index.json": index_of(described), **blobs})

    with pytest.raises(NameConflictError, match="another model"):
        imported(store, content, "hf.co/a/b")

    assert imported(store, content, "hf.co/a/c") == ["hf.co/a/c:latest"]


def test_two_models_of_one_name_are_refused(tmp_path: Path) -> None:
    one, described_one = model_files([b"one"])
    two, described_two = model_files([b"two"])
    index = index_of(named(described_one, "same"), named(described_two, "SAME:latest"))

    with pytest.raises(IntegrityError, match="calls two models"):
        imported(Store(tmp_path), archive_of({"index.json": index, **one, **two}))


def test_a_model_without_layers_is_refused(tmp_path: Path) -> None:
    blobs, described = model_files([])
    store = Store(tmp_path)

    with pytest.raises(IntegrityError, match="no layers"):
        imported(store, archive_of({"index.json": index_of(named(described, "m")), **blobs}))

    assert ref_paths(store.layout) == []


def test_a_name_that_is_given_is_the_only_one(tmp_path: Path) -> None:
    blobs, described = model_files()
    index = index_of(named(described, "one"), named(described, "uno"))

    assert imported(Store(tmp_path), archive_of({**blobs, "index.json": index}), "mine:1") == [
        "mine:1"
    ]


def test_a_name_for_several_models_and_a_model_without_a_name_are_refused(tmp_path: Path) -> None:
    one, described_one = model_files([b"one"])
    two, described_two = model_files([b"two"])
    store = Store(tmp_path)

    with pytest.raises(UsageError, match="several models"):
        imported(
            store,
            archive_of({**one, **two, "index.json": index_of(described_one, described_two)}),
            "mine",
        )
    with pytest.raises(UsageError, match="has no model name"):
        imported(store, archive_of({**one, "index.json": index_of(described_one)}))

    assert ref_paths(store.layout) == []


@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "a b", "", "hf.co/a/\ud800/b", "./f"])
def test_a_name_that_is_none_or_a_files_is_refused(name: str, tmp_path: Path) -> None:
    blobs, described = model_files()
    store = Store(tmp_path)

    with pytest.raises((IntegrityError, UsageError)):
        imported(store, archive_of({**blobs, "index.json": index_of(named(described, name))}))

    assert ref_paths(store.layout) == []


def test_the_archive_of_docker_model_runner_is_read(tmp_path: Path) -> None:
    blobs, described = model_files()
    manifest = blobs.pop(f"blobs/sha256/{described['digest'][7:]}")

    names = imported(Store(tmp_path), archive_of({**blobs, "manifest.json": manifest}), "mine")

    assert names == ["mine:latest"]


def test_the_archive_of_docker_save_is_read_by_its_index(tmp_path: Path) -> None:
    blobs, described = model_files()
    files = {"index.json": index_of(named(described, "model")), "manifest.json": b"[]", **blobs}

    assert imported(Store(tmp_path), archive_of({**files, "repositories": b"{}"})) == [
        "model:latest"
    ]


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"index.json": b"{}"},
        {"index.json": b"[" * 100_000},
        {"index.json": b'{"manifests": 7}'},
        {"index.json": b'{"manifests": [7]}'},
        {"index.json": b'{"manifests": []}'},
        {"index.json": index_of(*[model_files()[1]] * 1001)},
        {"index.json": index_of(named(model_files()[1], "model"))},
        {"index.json": b" " * (4 << 20) + b" "},
        {"manifest.json": b"[]"},
        {"manifest.json": manifest_of([WEIGHTS])[0].to_bytes()},
        {"blobs/sha256/short": b"x"},
        {"blobs/sha256/" + "0" * 64: b"x"},
        {"blobs/sha256/" + "0" * 64 + "/x": b"x"},
    ],
)
def test_what_is_no_archive_of_models_is_refused(files: dict[str, bytes], tmp_path: Path) -> None:
    store = Store(tmp_path)

    with pytest.raises(IntegrityError):
        imported(store, archive_of(files), "mine")

    assert ref_paths(store.layout) == []
    assert_sound(store)


def test_a_manifest_whose_layer_is_missing_gets_no_name(tmp_path: Path) -> None:
    store = Store(tmp_path)
    whole, described = model_files([b"one"])
    cut, described_cut = model_files([b"two"])
    cut.pop(f"blobs/sha256/{sha256(b'two')[7:]}")
    index = index_of(named(described, "one"), named(described_cut, "two"))

    with pytest.raises(IntegrityError, match=f"lacks a file of the model: {sha256(b'two')}"):
        imported(store, archive_of({**whole, **cut, "index.json": index}))

    assert ref_paths(store.layout) == []


def test_a_disk_that_fills_leaves_what_was_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, store = new_store(tmp_path / "ours"), new_store(tmp_path / "theirs")
    put_model(ours, "model")
    whole = exported(ours)
    replace, names = os.replace, []

    def fill(source: Path, target: Path) -> None:
        names.append(target)
        if len(names) > 2:
            raise OSError(28, os.strerror(28))
        replace(source, target)

    monkeypatch.setattr(os, "replace", fill)
    with pytest.raises(StorageError, match="is full"):
        imported(store, whole)
    monkeypatch.undo()

    assert len(blob_names(store.layout)) == 2
    assert_sound(store)


def test_progress_counts_every_byte_of_the_archive(tmp_path: Path) -> None:
    ours = new_store(tmp_path / "ours")
    put_model(ours, "model")
    whole = exported(ours)
    counts: list[int] = []

    import_archive(Store(tmp_path / "theirs"), io.BytesIO(whole), on_bytes=counts.append)

    assert sum(counts) == len(whole)
