"""What takes space, by model and in all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.store.garbage import collect_garbage
from localrun.store.store import Store
from localrun.store.usage import StoreUsage, usage
from tests.store.building import damage, manifest_of, new_store, put_model
from tests.store.test_blobs import put_linked

if TYPE_CHECKING:
    from pathlib import Path

EMPTY = StoreUsage(models=[], total_bytes=0, unused_bytes=0, partial_bytes=0, linked_bytes=0)


def size_on_disk(store: Store) -> int:
    return sum(path.stat().st_size for path in store.layout.blobs.iterdir())


def test_no_store_takes_nothing(tmp_path: Path) -> None:
    assert usage(Store(tmp_path / "store")) == EMPTY
    assert usage(new_store(tmp_path)) == EMPTY


def test_a_shared_layer_is_nobodys_own(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    put_model(store, "a", [b"s" * 1000, b"a"])
    put_model(store, "b", [b"s" * 1000, b"b"])

    found = usage(store)

    manifest, _ = manifest_of([b"s" * 1000, b"a"])
    total = manifest.size_bytes + len(manifest.to_bytes())
    assert [
        (model.name, model.total_bytes, model.own_bytes, model.shared_bytes)
        for model in found.models
    ] == [("a:latest", total, total - 1000, 1000), ("b:latest", total, total - 1000, 1000)]
    assert found.total_bytes == size_on_disk(store) == 2 * total - 1000
    assert found.unused_bytes == 0


def test_of_two_names_of_one_model_neither_frees_it(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    put_model(store, "a")
    put_model(store, "b")

    found = usage(store)

    assert [model.own_bytes for model in found.models] == [0, 0]


def test_what_no_name_needs_is_what_a_sweep_frees(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    put_model(store, "model")
    with store.lease() as lease:
        store.blobs.put(b"unused", lease)

    found = usage(store)

    assert found.unused_bytes == collect_garbage(store, is_dry=True).freed_bytes == len(b"unused")


def test_downloads_and_files_of_other_tools_are_counted_apart(tmp_path: Path) -> None:
    store = new_store(tmp_path / "store")
    put_linked(store, tmp_path / "theirs.gguf", b"linked")
    put_linked(store, tmp_path / "gone.gguf", b"was linked")
    (tmp_path / "gone.gguf").unlink()
    (store.layout.partial / "key").mkdir()
    (store.layout.partial / "key" / "data").write_bytes(b"x" * 10_000)

    found = usage(store)

    assert found.linked_bytes == len(b"linked")
    assert found.total_bytes == len(b"linkedwas linked")
    assert found.partial_bytes >= 10_000


def test_a_broken_name_does_not_stop_the_count(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    put_model(store, "good")
    damage(store.blobs.path(put_model(store, "broken", [b"other"]).manifest))

    found = usage(store)

    assert [model.name for model in found.models] == ["good:latest"]
    assert found.total_bytes == size_on_disk(store)


def test_other_stores_take_none_of_our_disk(tmp_path: Path) -> None:
    put_model(new_store(tmp_path / "other"), "model")

    assert usage(new_store(tmp_path / "ours", [tmp_path / "other"])) == EMPTY
