"""A store on a real small disk: full, read-only, and one that ignores case.

The disk is a tmpfs that the test mounts; skipped where that is not permitted.
"""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import unicodedata
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from localrun.errors import StorageError
from localrun.names.parse import parse_name
from localrun.names.ref import ModelRef
from localrun.store.blobs import file_digest
from localrun.store.garbage import collect_garbage
from localrun.store.refs import remove_ref
from localrun.store.store import Store
from localrun.store.verify import verify
from tests.store.building import model_digests, put_model, snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DISK_BYTES = 1 << 20
LAYER_BYTES = 50_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "localrun-test", str(tmp_path)]
    try:
        done = subprocess.run(mount, check=False, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"no disk can be mounted: {error}")
    if done.returncode:
        pytest.skip(f"no disk can be mounted: {done.stderr.strip()}")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def fill(store: Store) -> list[str]:
    """Make models until the disk is full; return their names."""
    made: list[str] = []

    def make_many() -> None:
        for number in itertools.count():
            put_model(store, f"model:{number}", [b"%d" % number * LAYER_BYTES])
            made.append(f"model:{number}")

    with pytest.raises(StorageError, match="is full") as caught:
        make_many()
    assert "localrun prune" in (caught.value.hint or "")
    return made


def fill_up(path: Path) -> None:
    """Write a file until not a byte more fits."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 512):
            pass


def assert_whole(store: Store, names: list[str]) -> None:
    entries = store.entries()
    assert sorted(entry.ref.name for entry in entries) == sorted(names)
    assert verify(store, model_digests(store, entries)) == []
    assert all(file_digest(path) == f"sha256:{path.name}" for path in store.layout.blobs.iterdir())


def test_a_full_disk_breaks_no_model_and_leaves_nothing_of_the_one_that_did_not_fit(
    small_disk: Path,
) -> None:
    store = Store(small_disk / "store")

    made = fill(store)

    assert len(made) > 2
    assert_whole(store, made)
    assert list(store.layout.tmp.iterdir()) == list(store.layout.leases.iterdir()) == []


def test_on_a_full_disk_a_model_can_be_removed_and_then_another_fits(small_disk: Path) -> None:
    store = Store(small_disk / "store")
    first, *others = fill(store)
    fill_up(small_disk / "rest")

    remove_ref(store.layout, parse_name(first))
    swept = collect_garbage(store)
    put_model(store, "small", [b"small"])

    assert swept.freed_bytes >= LAYER_BYTES
    assert_whole(store, [*others, "small:latest"])


def test_a_store_on_a_read_only_disk_is_read_and_a_change_says_why_not(small_disk: Path) -> None:
    store = Store(small_disk / "store")
    put_model(store, "model")
    before = snapshot(small_disk)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)

    assert_whole(store, ["model:latest"])
    assert store.find(parse_name("model")) is not None
    for change in (
        lambda: put_model(store, "another"),
        lambda: remove_ref(store.layout, parse_name("model")),
        lambda: collect_garbage(store),
    ):
        with pytest.raises(StorageError, match="no access") as caught:
            change()
        assert "LOCALRUN_MODELS" in (caught.value.hint or "")

    assert snapshot(small_disk) == before


TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)


@given(first=TEXT, second=TEXT)
@settings(deadline=None)
@example(first="Straße", second="STRASSE")
@example(first="%C3", second="%c3")
@example(first="\N{KELVIN SIGN}", second="k")
@example(first="e\N{COMBINING ACUTE ACCENT}", second="\N{LATIN SMALL LETTER E WITH ACUTE}")
def test_a_disk_that_ignores_case_and_composes_letters_tells_the_same_names_apart(
    first: str, second: str
) -> None:
    keys = [ModelRef(model=text, tag=text, namespace=text).key for text in (first, second)]

    on_disk = [tuple(unicodedata.normalize("NFC", part).casefold() for part in key) for key in keys]

    assert (on_disk[0] == on_disk[1]) == (keys[0] == keys[1])
