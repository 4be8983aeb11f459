from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from localrun.errors import UsageError
from localrun.remote.keys import hide, is_open_to_others, read_key
from localrun.remote.model import RemoteModel, remote_address

if TYPE_CHECKING:
    from pathlib import Path

ADDRESSES = (remote_address("http://127.0.0.1:9", "m"),)


def test_a_key_is_the_first_line_of_its_file_each_time(tmp_path: Path) -> None:
    file = tmp_path / "key"
    model = RemoteModel(addresses=ADDRESSES, key_file=str(file))
    file.write_text("one \nnot this\n")
    assert read_key(model, {}) == "one"

    file.write_text("two")

    assert read_key(model, {}) == "two"


def test_a_key_is_the_value_of_its_variable() -> None:
    model = RemoteModel(addresses=ADDRESSES, key_env="GPU_KEY")

    assert read_key(model, {"GPU_KEY": " abc "}) == "abc"
    with pytest.raises(UsageError, match="GPU_KEY, which is not set"):
        read_key(model, {})


def test_a_model_without_a_key_has_none() -> None:
    assert read_key(RemoteModel(addresses=ADDRESSES), {"GPU_KEY": "x"}) is None


@pytest.mark.parametrize("content", [b"", b"\n", b"a b", b"a\x00b", b"\xff\xfe", b"x" * 20_000])
def test_what_a_header_cannot_carry_is_no_key_and_not_repeated(
    content: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)

    with pytest.raises(UsageError) as caught:
        read_key(RemoteModel(addresses=ADDRESSES, key_file=str(file)), {})

    assert caught.value.message == f"{file} has no key in its first line"


def test_a_missing_file_or_a_device_is_an_error(tmp_path: Path) -> None:
    for place in (tmp_path / "none", tmp_path, "/dev/zero"):
        with pytest.raises(UsageError, match="cannot be read"):
            read_key(RemoteModel(addresses=ADDRESSES, key_file=str(place)), {})


def test_a_file_that_others_can_read_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("x")
    model = RemoteModel(addresses=ADDRESSES, key_file=str(file))
    os.chmod(file, 0o600)  # noqa: PTH101
    assert not is_open_to_others(model)

    os.chmod(file, 0o644)  # noqa: PTH101

    assert is_open_to_others(model)


def test_a_key_is_removed_from_a_text() -> None:
    assert hide("the key abcd is wrong", "abcd") == "the key *** is wrong"
    assert hide("nothing", None) == "nothing"
    assert hide("a cat", "a") == "a cat"
