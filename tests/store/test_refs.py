"""Refs: names as files that stay in the store and mean one manifest."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.errors import IntegrityError, ModelNameError, StorageError
from localrun.names.parse import parse_name
from localrun.names.ref import ModelRef
from localrun.store.layout import Layout
from localrun.store.refs import StoredRef, list_refs, read_ref, ref_files, remove_ref, write_ref
from tests.store.building import NO_DIGEST, new_store, ref_paths, steps_to_disk

GOOD = StoredRef(name="qwen3:0.6b", manifest=NO_DIGEST, updated="2026-11-21T07:00:00+00:00")
UNICODE = "hf.co/owner/repo/папка/模型 ẞ.gguf@refs/pr/1"


def write(layout: Layout, name: str) -> StoredRef:
    stored = replace(GOOD, name=name)
    with new_store(layout.root).lease() as lease:
        write_ref(layout, parse_name(name), stored, lease)
    return stored


@given(
    texts=st.lists(st.none() | st.text(st.characters(codec="utf-8")), min_size=3, max_size=3),
)
def test_a_ref_is_read_as_it_was_written(texts: list[str | None]) -> None:
    ref = replace(GOOD, origin=texts[0], choice=texts[1], revision=texts[2])

    assert StoredRef.from_json(ref.to_json()) == ref


@pytest.mark.parametrize(
    "name", ["guide", "owner/model:tag", UNICODE, "host:5000/a/b/model:tag", "https://h/a%20b.gguf"]
)
def test_a_name_is_one_file_four_folders_deep(name: str, tmp_path: Path) -> None:
    layout = Layout(tmp_path)

    stored = write(layout, name)

    assert read_ref(layout, parse_name(name)) == stored
    assert list_refs(layout) == [stored]
    assert [len(path.relative_to(layout.refs).parts) for path in ref_paths(layout)] == [4]
    assert all(str(path).isascii() for path in ref_paths(layout))


def test_names_that_differ_in_case_are_one_name(tmp_path: Path) -> None:
    layout = Layout(tmp_path)

    write(layout, "hf.co/Owner/Repo:Q4_K_M")
    stored = write(layout, "hf.co/owner/repo:q4_k_m")

    assert list_refs(layout) == [stored]
    assert read_ref(layout, parse_name("HF:OWNER/REPO:Q4_k_m")) == stored


@given(
    parts=st.lists(
        st.text() | st.sampled_from(["..", ".", "../..", "/etc", "a/../../b", "con", "\\x"]),
        min_size=6,
        max_size=6,
    )
)
def test_no_parts_of_a_name_leave_the_folder_of_refs(parts: list[str]) -> None:
    layout = Layout(Path("/store"))
    namespace, model, tag, host, file, revision = parts
    refs = [
        ModelRef(model=model, tag=tag, namespace=namespace, host=host),
        ModelRef(model=model, namespace=namespace, host="hf.co", file=file, revision=revision),
        ModelRef(location=file),
    ]

    for ref in refs:
        try:
            path = layout.ref(ref.key)
        except UnicodeEncodeError:  # half a character: no text of a user
            continue
        inside = Path(os.path.normpath(path)).relative_to("/store/refs")
        assert all(len(part) <= 255 for part in inside.parts)
        assert len(inside.parts) == 4 or "" in ref.key


@pytest.mark.parametrize("name", ["../../x", "a/../b", "/etc/x\0", "hf.co/a/b/../../../x", ""])
def test_a_text_that_would_leave_is_no_name(name: str) -> None:
    try:
        ref = parse_name(name)
    except ModelNameError:
        return

    assert ref.location == name
    assert ".." not in Layout(Path("/s")).ref(ref.key).parts


def damaged() -> dict[str, bytes]:
    fields: dict[str, Any] = json.loads(GOOD.to_json())
    changes: list[dict[str, Any]] = [
        {"manifest": "sha256:../../x"},
        {"manifest": 7},
        {"name": "../../etc/passwd/x:y:z"},
        {"name": "hf.co/a/\ud800:x"},
        {"name": "hf.co/a/b/\ud800.gguf"},
        {"name": ""},
        {"name": 7},
        {"name": ["guide"]},
        {"updated": 7},
        {"origin": {"a": 1}},
        {"unknown": "x"},
        {"format_version": 2},
        {"format_version": None},
    ]
    files = {str(change): json.dumps(fields | change).encode() for change in changes}
    for key in fields:
        files[f"no {key}"] = json.dumps({k: v for k, v in fields.items() if k != key}).encode()
    return files | {
        "empty": b"",
        "list": b"[]",
        "no text": b"\xff",
        "deep": b"[" * 100_000,
        "cut": GOOD.to_json()[:-9],
    }


@pytest.mark.parametrize("case", list(damaged()))
def test_a_damaged_ref_is_named_and_left_out(
    case: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    layout = Layout(tmp_path)
    good = write(layout, "good")
    write(layout, GOOD.name)
    path = layout.ref(parse_name(GOOD.name).key)
    path.write_bytes(damaged()[case])

    listed = list_refs(layout)

    assert listed == [good]
    assert str(path) in caplog.text
    with pytest.raises(IntegrityError, match="damaged") as caught:
        read_ref(layout, parse_name(GOOD.name))
    assert str(path) in caught.value.message
    assert caught.value.hint is not None


def test_a_later_format_asks_for_an_update_whatever_its_fields() -> None:
    with pytest.raises(IntegrityError, match="format 2") as caught:
        StoredRef.from_json(b'{"format_version": 2, "else": [1]}')

    assert caught.value.hint == "update localrun"


@given(st.binary() | st.dictionaries(st.text(), st.integers() | st.text()).map(json.dumps))
def test_any_bytes_are_a_ref_or_an_integrity_error(content: Any) -> None:
    with pytest.raises(IntegrityError):
        StoredRef.from_json(content)


def test_a_removed_name_takes_its_empty_folders_along(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    write(layout, "model:a")
    write(layout, "model:b")

    first = [remove_ref(layout, parse_name("model:a")) for _ in range(2)]
    left = [stored.name for stored in list_refs(layout)]
    remove_ref(layout, parse_name("model:b"))

    assert first == [True, False]
    assert left == ["model:b"]
    assert list(layout.refs.iterdir()) == []


def test_a_removal_reaches_the_disk_before_a_sweep_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout(tmp_path)
    write(layout, "model")
    steps = steps_to_disk(monkeypatch)

    remove_ref(layout, parse_name("model"))

    assert steps == ["fsync"]


def test_files_of_desktops_and_file_systems_are_no_refs(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    write(layout, "model")
    (path,) = ref_paths(layout)
    for folder in (path.parent, path.parent.parent, layout.refs):
        (folder / ".DS_Store").write_bytes(b"\0")
    (layout.refs / "stray").touch()

    assert list(ref_files(layout)) == [path]


def test_a_folder_that_cannot_be_read_is_an_error_not_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout(tmp_path)
    write(layout, "model")

    def refuse(_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(StorageError, match="no access"):
        list(ref_files(layout))


def test_names_come_and_go_at_once_in_one_folder(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    kept = write(store.layout, "model:kept")

    def come_and_go(number: int) -> None:
        ref = parse_name(f"other:{number % 3}")
        with store.lease() as lease:
            for _ in range(60):
                write_ref(store.layout, ref, replace(GOOD, name=str(ref)), lease)
                assert kept in list_refs(store.layout)
                remove_ref(store.layout, ref)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(come_and_go, range(6)))

    assert list_refs(store.layout) == [kept]
