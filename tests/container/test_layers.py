"""Layers: the same bytes from the same entries, wherever and whenever they are written."""

from __future__ import annotations

import gzip
import hashlib
import os
import tarfile
from typing import TYPE_CHECKING

import pytest
from container.layers import Entry, write_layer

if TYPE_CHECKING:
    from pathlib import Path

TIME_S = 1_700_000_000


def test_a_layer_does_not_depend_on_order_times_modes_or_names_of_files(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"content")
    (tmp_path / "two").write_bytes(b"content")
    os.utime(tmp_path / "two", (1, 1))
    (tmp_path / "two").chmod(0o600)
    entries = [Entry(path="a/b", content=tmp_path / "one"), Entry(path="a/c", link="b")]
    others = [Entry(path="a/c", link="b"), Entry(path="a/b", content=tmp_path / "two")]

    layer = write_layer(entries, tmp_path / "first", time_s=TIME_S)
    same = write_layer(others, tmp_path / "second", time_s=TIME_S)

    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    assert (layer.digest, layer.diff_id) == (same.digest, same.diff_id)


def test_a_layer_states_its_digests_and_size(tmp_path: Path) -> None:
    layer = write_layer([Entry(path="a", content=b"x" * 100_000)], tmp_path / "l", time_s=TIME_S)

    data = (tmp_path / "l").read_bytes()
    assert layer.digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert layer.diff_id == f"sha256:{hashlib.sha256(gzip.decompress(data)).hexdigest()}"
    assert layer.size == len(data)
    assert data[3] == 0, "gzip has a file name"
    assert data[4:8] == bytes(4), "gzip has a time"


def test_folders_come_before_what_is_in_them_and_belong_to_root(tmp_path: Path) -> None:
    entries = [Entry(path="m/own/x", content=b""), Entry(path="m/own", owner=10001)]

    write_layer(entries, tmp_path / "l", time_s=TIME_S)

    with tarfile.open(tmp_path / "l") as tar:
        members = [(member.name, member.uid, member.mtime) for member in tar]
    assert members == [("m", 0, TIME_S), ("m/own", 10001, TIME_S), ("m/own/x", 0, TIME_S)]


def test_two_entries_of_one_path_must_be_equal(tmp_path: Path) -> None:
    entries = [Entry(path="a", content=b"1"), Entry(path="a", content=b"2")]

    with pytest.raises(ValueError, match="/a"):
        write_layer(entries, tmp_path / "l", time_s=TIME_S)
