"""The manual page and the reference of commands, which are generated from the commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import localrun
from localrun import errors
from localrun.cli.app import COMMANDS, HIDDEN
from localrun.cli.reference.markdown import as_markdown
from localrun.cli.reference.roff import EXIT_CODES, as_roff
from localrun.cli.reference.tree import CommandPage, Term, command_pages

DOCS = Path(localrun.__file__).parent / "docs"


@pytest.mark.parametrize(
    ("name", "text", "command"),
    [
        ("cli.md", as_markdown, "localrun manual --markdown > localrun/docs/cli.md"),
        ("localrun.1", as_roff, "localrun manual > localrun/docs/localrun.1"),
    ],
)
def test_the_file_is_what_the_commands_say(name: str, text: object, command: str) -> None:
    assert callable(text)
    path = DOCS / name

    assert path.exists(), f"regenerate: {command}"
    assert text() == path.read_text(), f"the commands have changed; regenerate: {command}"


def test_neither_width_nor_colour_change_the_text() -> None:
    variables = {"COLUMNS": "40", "TERMINAL_WIDTH": "40", "FORCE_COLOR": "1", "TERM": "xterm"}

    done = subprocess.run(
        [sys.executable, "-m", "localrun", "manual", "--markdown"],
        env=os.environ | variables, check=True, capture_output=True, text=True,
    )  # fmt: skip

    assert done.stdout == as_markdown()


def test_every_command_has_a_page_and_no_hidden_one() -> None:
    names = {page.name.removeprefix("localrun ").partition(" ")[0] for page in command_pages()}

    assert names >= set(COMMANDS) | {"service"}
    assert names.isdisjoint(HIDDEN)


def test_a_page_has_what_the_help_says() -> None:
    (page,) = [page for page in command_pages() if page.name == "localrun service logs"]

    assert page == CommandPage(
        name="localrun service logs",
        usage="localrun service logs [OPTIONS]",
        paragraphs=("Print the log of the server, and what the service manager wrote about it.",),
        examples=("localrun service logs -n 20",),
        arguments=(),
        options=(
            Term(names=("-n", "--lines"), value="NUMBER", meaning="Number of lines. Default: 50."),
            Term(names=("-f", "--follow"), value="", meaning="Wait for more lines."),
        ),
    )


def test_examples_are_commands() -> None:
    examples = [example for page in command_pages() for example in page.examples]

    assert len(examples) >= len(COMMANDS)
    assert all("localrun " in example for example in examples)


def test_the_exit_codes_are_those_of_the_errors() -> None:
    classes = [each for each in vars(errors).values() if isinstance(each, type)]
    codes = {each.exit_code for each in classes if issubclass(each, errors.LocalrunError)}

    assert codes == set(EXIT_CODES) - {0, 130}


@pytest.mark.skipif(not shutil.which("groff"), reason="groff is not installed")
def test_groff_has_nothing_to_warn_about() -> None:
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-rLL=78n"],
        input=as_roff(), check=True, capture_output=True, text=True,
    )  # fmt: skip

    assert done.stderr == ""
    assert "localrun service install" in done.stdout
    assert "\N{HYPHEN}\N{HYPHEN}env" not in done.stdout  # an option that can be copied
