"""A store as its users see it: names, manifests, and other stores behind ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.errors import IntegrityError, StorageError
from localrun.names.parse import parse_name
from localrun.store.layout import MARKER
from localrun.store.locks import living_leases
from localrun.store.store import Provenance, Store
from tests.store.building import (
    WEIGHTS,
    blob_names,
    damage,
    manifest_of,
    new_store,
    put_model,
    ref_paths,
    snapshot,
)

if TYPE_CHECKING:
    from pathlib import Path


def names(store: Store) -> list[str]:
    return [entry.ref.name for entry in store.entries()]


def test_a_store_that_is_not_there_is_empty_and_is_not_made(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")

    assert store.entries() == []
    assert store.find(parse_name("model")) is None
    assert not (tmp_path / "store").exists()


def test_a_model_that_was_made_is_found_by_its_name(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")

    stored = put_model(store, "Owner/Model:tag")

    entry = store.find(parse_name("owner/model:TAG"))
    assert entry is not None
    assert entry.ref == stored
    assert entry.is_own
    assert entry.manifest == manifest_of([WEIGHTS])[0]
    assert names(store) == ["Owner/Model:tag"]


def test_a_name_says_where_it_came_from(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    put_model(store, "first")
    provenance = Provenance(origin="hf.co/a/b:Q8_0", choice="Q8_0", revision="abc")

    with store.lease() as lease:
        content = manifest_of([WEIGHTS])[0].to_bytes()
        stored = store.tag(parse_name("second"), content, lease, provenance)

    assert (stored.origin, stored.choice, stored.revision) == ("hf.co/a/b:Q8_0", "Q8_0", "abc")


def test_a_digest_behind_the_name_must_be_what_it_means(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    stored = put_model(store, "model")

    assert store.find(parse_name(f"model@{stored.manifest}")) is not None
    assert store.find(parse_name(f"model@sha256:{'1' * 64}")) is None


def test_a_digest_behind_an_address_is_that_of_its_file(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    manifest, _ = manifest_of([WEIGHTS])
    address = f"https://host/model.gguf#{manifest.layers[0].digest.replace(':', '=')}"

    put_model(store, address)

    assert store.find(parse_name(address)) is not None
    assert store.find(parse_name(f"https://host/model.gguf#sha256={'1' * 64}")) is None


def test_a_model_is_not_named_before_it_is_whole(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    manifest, config = manifest_of([WEIGHTS])

    with store.lease() as lease:
        store.blobs.put(config, lease)
        with pytest.raises(IntegrityError, match=rf"model:latest is missing: {'sha256:'}"):
            store.tag(parse_name("model"), manifest.to_bytes(), lease)

    assert ref_paths(store.layout) == []


def test_a_blob_of_another_size_is_not_named(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    put_model(store, "model")
    manifest, _ = manifest_of([WEIGHTS])
    store.blobs.path(manifest.layers[0].digest).chmod(0o644)
    store.blobs.path(manifest.layers[0].digest).write_bytes(b"cut")

    with store.lease() as lease, pytest.raises(IntegrityError, match="is missing"):
        store.tag(parse_name("second"), manifest.to_bytes(), lease)


def test_what_is_being_named_is_leased(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    stored = put_model(store, "model")
    manifest, _ = manifest_of([WEIGHTS])

    with store.lease() as lease:
        store.tag(parse_name("second"), manifest.to_bytes(), lease)
        leased = living_leases(store.layout)[lease.id]

    assert leased == {stored.manifest, *(blob.digest for blob in manifest.blobs)}


def test_a_damaged_manifest_is_named_and_the_list_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = new_store(tmp_path)
    put_model(store, "good")
    broken = put_model(store, "broken", [b"other"])
    damage(store.blobs.path(broken.manifest))

    listed = names(store)

    assert listed == ["good:latest"]
    assert "broken:latest" in caplog.text
    with pytest.raises(IntegrityError, match=f"broken:latest: damaged: .*{broken.manifest[7:]}"):
        store.find(parse_name("broken"))


def test_a_name_of_no_manifest_is_told_with_its_digest(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    put_model(store, "good")
    stored = put_model(store, "broken", [b"other"])
    index = b'{"schemaVersion": 2, "manifests": []}'
    path = store.blobs.path(stored.manifest)
    with store.lease() as lease:
        digest = store.blobs.put(index, lease)
    ref = store.layout.ref(parse_name("broken").key)
    ref.write_text(ref.read_text().replace(stored.manifest, digest))
    path.unlink()

    assert names(store) == ["good:latest"]
    with pytest.raises(IntegrityError, match=f"broken:latest: {digest}: not a model manifest"):
        store.find(parse_name("broken"))


class TestOtherStores:
    """Read-only stores behind ours."""

    def test_they_are_searched_after_ours_and_never_written(self, tmp_path: Path) -> None:
        other = new_store(tmp_path / "other")
        put_model(other, "shared", [b"theirs"])
        theirs = put_model(other, "both", [b"theirs"])
        before = snapshot(tmp_path / "other")

        store = Store(tmp_path / "ours", [tmp_path / "other"])
        ours = put_model(store, "Both", [b"ours"])
        both, shared = store.find(parse_name("both")), store.find(parse_name("shared"))
        by_digest = store.find(parse_name(f"both@{theirs.manifest}"))

        assert both is not None
        assert shared is not None
        assert by_digest is not None
        assert (both.ref, both.is_own) == (ours, True)
        assert (by_digest.ref, by_digest.is_own) == (theirs, False)
        assert not shared.is_own
        assert [(entry.ref.name, entry.is_own) for entry in store.entries()] == [
            ("Both:latest", True),
            ("shared:latest", False),
        ]
        assert snapshot(tmp_path / "other") == before

    def test_a_name_of_ours_for_a_model_of_theirs_copies_no_weights(self, tmp_path: Path) -> None:
        other = new_store(tmp_path / "other")
        stored = put_model(other, "shared")
        store = new_store(tmp_path / "ours", [tmp_path / "other"])

        with store.lease() as lease:
            store.tag(parse_name("mine"), manifest_of([WEIGHTS])[0].to_bytes(), lease)

        entry = store.find(parse_name("mine"))
        assert entry is not None
        assert entry.ref.manifest == stored.manifest
        assert blob_names(store.layout) == set()

    def test_one_that_is_not_there_does_not_matter(self, tmp_path: Path) -> None:
        store = Store(tmp_path / "ours", [tmp_path / "unmounted"])
        put_model(store, "mine")

        assert names(store) == ["mine:latest"]
        assert store.find(parse_name("other")) is None

    def test_one_of_a_later_format_is_named(self, tmp_path: Path) -> None:
        other = new_store(tmp_path / "other")
        (other.layout.root / MARKER).write_text('{"format_version": 2}')
        store = Store(tmp_path / "ours", [tmp_path / "other"])

        with pytest.raises(StorageError, match="has format 2"):
            store.entries()

    def test_a_broken_name_of_ours_does_not_hide_theirs_in_the_list(self, tmp_path: Path) -> None:
        put_model(new_store(tmp_path / "other"), "model", [b"theirs"])
        store = Store(tmp_path / "ours", [tmp_path / "other"])
        damage(store.blobs.path(put_model(store, "model", [b"ours"]).manifest))

        assert [(entry.ref.name, entry.is_own) for entry in store.entries()] == [
            ("model:latest", False)
        ]
