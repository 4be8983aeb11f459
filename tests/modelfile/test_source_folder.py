"""Reading included files from a real folder."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from localrun.errors import UsageError
from localrun.modelfile.parse import parse_modelfile
from localrun.modelfile.problems import ModelfileError
from localrun.modelfile.source import MAX_BYTES, folder_reader
from tests.unix_calls import make_pipe

if TYPE_CHECKING:
    from pathlib import Path

needs_links = pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("SYSTEM secret")
    (tmp_path / "recipe" / "sub").mkdir(parents=True)
    (tmp_path / "recipe" / "sub" / "x").write_bytes(b"SYSTEM x\r\n")
    return tmp_path / "recipe"


def test_a_file_below_is_read_byte_for_byte(folder: Path) -> None:
    assert folder_reader(folder)("sub/x") == b"SYSTEM x\r\n"


@needs_links
@pytest.mark.parametrize("target", ["../secret", "/etc/passwd", "sub/../../secret"])
def test_a_link_that_leads_outside_is_refused(folder: Path, target: str) -> None:
    (folder / "link").symlink_to(target)

    with pytest.raises(UsageError, match="outside"):
        folder_reader(folder)("link")


@needs_links
def test_a_link_to_a_folder_outside_is_refused(folder: Path) -> None:
    (folder / "up").symlink_to("..")

    with pytest.raises(ModelfileError) as caught:
        parse_modelfile(b"FROM a\nINCLUDE up/secret", read=folder_reader(folder))

    assert (caught.value.problem.code, caught.value.problem.line) == ("include-refused", 2)


@needs_links
def test_a_link_that_stays_inside_is_followed(folder: Path) -> None:
    (folder / "link").symlink_to("sub/x")

    assert folder_reader(folder)("link") == b"SYSTEM x\r\n"


@needs_links
def test_the_folder_itself_may_be_a_link(folder: Path) -> None:
    (folder.parent / "alias").symlink_to("recipe")

    assert folder_reader(folder.parent / "alias")("sub/x") == b"SYSTEM x\r\n"


def test_a_pipe_is_not_waited_for(folder: Path) -> None:
    make_pipe(folder / "pipe")

    with pytest.raises(UsageError, match="not a file"):
        folder_reader(folder)("pipe")


@needs_links
def test_links_in_a_circle_are_an_error(folder: Path) -> None:
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("a")

    with pytest.raises(ModelfileError) as caught:
        parse_modelfile(b"FROM a\nINCLUDE a", read=folder_reader(folder))

    assert caught.value.problem.code == "include-missing"


@pytest.mark.parametrize("path", ["nix", "sub", "sub/x/y"])
def test_what_is_no_file_is_an_error_with_a_place(folder: Path, path: str) -> None:
    with pytest.raises(ModelfileError) as caught:
        parse_modelfile(f"FROM a\nINCLUDE {path}".encode(), read=folder_reader(folder))

    assert caught.value.problem.line == 2


def test_no_more_is_read_than_a_recipe_may_have(folder: Path) -> None:
    with (folder / "large").open("wb") as file:
        file.truncate(MAX_BYTES * 4)

    assert len(folder_reader(folder)("large")) == MAX_BYTES + 1
