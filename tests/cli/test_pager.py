"""Long help goes through a pager on a terminal; nowhere else, and never without end."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.cli.test_terminal import on_terminal

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Localrun

LONG, LAST = "faq", "delete the folders that"


@pytest.fixture
def pager(tmp_path: Path) -> Path:
    program = tmp_path / "pager"
    program.write_text('#!/bin/sh\nprintf "paged with %s: " "$*"\nexec tail -1\n')
    program.chmod(0o755)
    return program


def shown(topic: str, *options: str, **variables: str) -> str:
    return on_terminal(small_screen(variables), "help", topic, *options)


def small_screen(variables: dict[str, str]) -> dict[str, str]:
    return {**os.environ, "LINES": "20", **variables}


def test_a_page_longer_than_the_screen_is_given_to_the_pager_of_the_user(pager: Path) -> None:
    text = shown(LONG, PAGER=f"{pager} -x")

    assert text.startswith("paged with -x: ")
    assert text.count("\n") == 1


@pytest.mark.parametrize("way", [{"PAGER": "cat"}, {"PAGER": ""}, {"PAGER": "/nowhere/pager"}])
def test_without_a_pager_the_page_is_printed(way: dict[str, str]) -> None:
    assert LAST in shown(LONG, **way)


def test_a_short_page_a_pipe_and_an_option_need_no_pager(pager: Path, localrun: Localrun) -> None:
    assert "paged" not in shown("names", PAGER=str(pager), LINES="100")
    assert "paged" not in shown(LONG, "--no-pager", PAGER=str(pager))
    assert "paged" not in localrun("help", LONG).stdout


def test_long_help_of_a_command_is_paged_as_its_option_prints_it(pager: Path) -> None:
    printed = on_terminal(small_screen({"PAGER": str(pager)}), "run", "--help")
    pager.write_text("#!/bin/sh\nprintf paged:\nexec cat\n")

    assert shown("run", PAGER=str(pager)) == f"paged:{printed}"
    assert shown("run", "--no-pager", PAGER=str(pager)) == printed
    assert "paged" not in shown("stop", PAGER=str(pager), LINES="100")


def test_only_a_terminal_that_allows_colors_gets_them(localrun: Localrun) -> None:
    assert "\x1b[" in shown("names", LINES="100")
    assert "\x1b[" not in shown("names", LINES="100", NO_COLOR="1")
    assert "\x1b[" not in localrun("help", "names").stdout
