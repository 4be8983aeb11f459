"""A model that the user points at."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from localrun.errors import IntegrityError, NotFoundError
from localrun.gguf.role import gguf_role
from localrun.store.foreign.files import find_gguf
from tests.store.foreign.layouts import ADAPTER, PROJECTOR, WEIGHTS, without_change, write
from tests.unix_calls import make_pipe

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.store.foreign.model import ForeignModel

UNREADABLE = b"GGUF\xff"


def found(path: Path) -> list[ForeignModel]:
    folder = path if path.is_dir() else path.parent
    return without_change(folder, lambda: find_gguf(path, gguf_role))


def roles(model: ForeignModel) -> dict[str, str]:
    return {file.name: file.role for file in model.files}


def test_a_file_is_a_model_by_itself(tmp_path: Path) -> None:
    path = write(tmp_path / "Qwen3-0.6B-Q8_0.gguf")
    write(tmp_path / "mmproj.gguf", PROJECTOR)
    write(tmp_path / "other.gguf")

    (model,) = found(path)

    assert (model.tool, model.name) == ("file", "Qwen3-0.6B-Q8_0")
    assert roles(model) == {path.name: "weights"}
    assert (model.files[0].path, model.files[0].size_bytes) == (path.resolve(), len(WEIGHTS))


def test_a_file_needs_no_suffix(tmp_path: Path) -> None:
    (model,) = found(write(tmp_path / "sha256-00.blob"))

    assert model.name == "sha256-00.blob"


def test_any_shard_brings_the_others_in_order(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        write(tmp_path / f"m-{number:05}-of-00003.gguf")

    (model,) = found(tmp_path / "m-00002-of-00003.gguf")

    assert model.name == "m"
    assert list(roles(model)) == [f"m-{number:05}-of-00003.gguf" for number in (1, 2, 3)]


@pytest.mark.parametrize("by_folder", [False, True])
def test_a_missing_shard_is_named(tmp_path: Path, by_folder: bool) -> None:  # noqa: FBT001
    path = write(tmp_path / "m-00002-of-00003.gguf")
    write(tmp_path / "m-00003-of-00003.gguf")

    with pytest.raises(IntegrityError, match=r"m-00001-of-00003\.gguf is missing \(1 of") as caught:
        find_gguf(tmp_path if by_folder else path, gguf_role)

    assert caught.value.hint == f"download the missing files, then: localrun import {path}"


@pytest.mark.parametrize("by_folder", [False, True])
def test_a_shard_that_is_no_gguf_is_told(tmp_path: Path, by_folder: bool) -> None:  # noqa: FBT001
    path = write(tmp_path / "m-00001-of-00002.gguf")
    write(tmp_path / "m-00002-of-00002.gguf", b"version https://git-lfs")

    with pytest.raises(IntegrityError, match=r"m-00002-of-00002\.gguf is not a GGUF file"):
        find_gguf(tmp_path if by_folder else path, gguf_role)


def test_a_shard_that_is_a_dead_link_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "m-00001-of-00002.gguf")
    (tmp_path / "m-00002-of-00002.gguf").symlink_to("nowhere")

    with pytest.raises(NotFoundError, match=r"m-00002-of-00002\.gguf"):
        find_gguf(path, gguf_role)


def test_a_folder_gives_each_model_what_lies_beside_it(tmp_path: Path) -> None:
    for name in ("a-Q8_0.gguf", "b-00001-of-00002.gguf", "b-00002-of-00002.gguf"):
        write(tmp_path / name)
    write(tmp_path / "vision.gguf", PROJECTOR)
    write(tmp_path / "chat_template.jinja", "{{ x }}")
    write(tmp_path / "LICENSE.md", "MIT")
    write(tmp_path / "README.md", "text")
    write(tmp_path / "deeper" / "c.gguf")
    extras = {"vision.gguf": "projector", "chat_template.jinja": "template"}
    extras["LICENSE.md"] = "license"

    first, second = found(tmp_path)

    assert (first.name, second.name) == ("a-Q8_0", "b")
    assert list(roles(first).items()) == [("a-Q8_0.gguf", "weights"), *extras.items()]
    assert list(roles(second))[:2] == ["b-00001-of-00002.gguf", "b-00002-of-00002.gguf"]
    assert list(roles(second).items())[2:] == list(extras.items())


def test_the_content_tells_the_role_and_not_the_name(tmp_path: Path) -> None:
    write(tmp_path / "mmproj.gguf", WEIGHTS)
    write(tmp_path / "model.gguf", PROJECTOR)

    (model,) = found(tmp_path)

    assert roles(model) == {"mmproj.gguf": "weights", "model.gguf": "projector"}


def test_the_name_tells_the_role_where_the_header_cannot_be_read(tmp_path: Path) -> None:
    write(tmp_path / "mmproj.gguf", UNREADABLE)
    write(tmp_path / "model.gguf", UNREADABLE)

    (model,) = found(tmp_path)

    assert roles(model) == {"model.gguf": "weights", "mmproj.gguf": "projector"}


def test_a_model_with_the_name_of_a_license_is_a_model(tmp_path: Path) -> None:
    write(tmp_path / "license-llm.gguf")

    (model,) = found(tmp_path)

    assert [file.role for file in model.files] == ["weights"]


def test_an_adapter_in_a_folder_is_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "model.gguf")
    write(tmp_path / "lora.gguf", ADAPTER)

    (model,) = found(tmp_path)

    assert roles(model) == {"model.gguf": "weights"}
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_files_of_a_folder_that_only_look_like_gguf_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "model.gguf")
    write(tmp_path / "pointer.gguf", b"version https://git-lfs")
    (tmp_path / "gone.gguf").symlink_to("nowhere")
    make_pipe(tmp_path / "pipe.gguf")

    (model,) = found(tmp_path)

    assert list(roles(model)) == ["model.gguf"]
    assert len(caplog.records) == 3


@pytest.mark.parametrize(("content", "kind"), [(PROJECTOR, "projector"), (ADAPTER, "adapter")])
def test_what_is_no_model_alone_is_refused(tmp_path: Path, content: bytes, kind: str) -> None:
    path = write(tmp_path / "model.gguf", content)

    with pytest.raises(IntegrityError, match=f"of the role {kind}, not a model") as caught:
        find_gguf(path, gguf_role)

    assert caught.value.hint is not None
    assert f"localrun import {tmp_path}" in caught.value.hint


def test_a_file_that_is_no_gguf_is_refused_with_the_next_command(tmp_path: Path) -> None:
    for content in (b"", b"GG", b"GGML1234"):
        path = write(tmp_path / "model.gguf", content)

        with pytest.raises(IntegrityError, match="is not a GGUF file") as caught:
            find_gguf(path, gguf_role)

        assert caught.value.hint is not None
        assert "localrun import" in caught.value.hint


def test_a_folder_without_a_model_is_refused_with_the_next_command(tmp_path: Path) -> None:
    write(tmp_path / "mmproj.gguf", PROJECTOR)

    with pytest.raises(IntegrityError, match="has no GGUF model") as caught:
        find_gguf(tmp_path, gguf_role)

    assert caught.value.hint is not None


def test_a_path_with_nothing_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    make_pipe(tmp_path / "pipe")

    for name in ("none.gguf", "loop", "pipe", "a\0b"):
        with pytest.raises(NotFoundError, match="no file"):
            find_gguf(tmp_path / name, gguf_role)


def test_a_file_without_permission_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "model.gguf")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", refuse)  # the mode says nothing to root

    with pytest.raises(IntegrityError, match=r"cannot read .*: Permission denied"):
        find_gguf(path, gguf_role)
