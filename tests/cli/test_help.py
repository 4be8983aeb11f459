"""Topics of help are there, and those that errors name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from localrun.cli.app import COMMANDS, app
from localrun.cli.help import GENERATED, TOPICS
from localrun.cli.reference.tree import command_pages
from localrun.errors import NotFoundError
from localrun.modelfile.known import PARAMETERS

SOURCES = Path(__file__).parents[2] / "localrun"


@pytest.mark.parametrize("topic", TOPICS)
def test_a_topic_has_a_page(topic: str) -> None:
    done = CliRunner().invoke(app, ["help", topic])

    assert done.exit_code == 0
    assert len(done.output.splitlines()) > 5


def test_every_topic_that_is_named_anywhere_exists() -> None:
    named = {
        topic
        for path in SOURCES.rglob("*.py")
        for topic in re.findall(r"localrun help ([a-z]+)", path.read_text())
    }

    assert named <= {*TOPICS, *COMMANDS}


def test_the_parameters_are_all_explained() -> None:
    output = CliRunner().invoke(app, ["help", "parameters"]).output

    names = {line.split()[0] for line in output.splitlines()[1:]}
    assert names == {one.name for one in PARAMETERS if not (one.deprecated or one.removed)}


def test_an_unknown_topic_names_those_there_are() -> None:
    done = CliRunner().invoke(app, ["help", "nonsense"])

    assert "modelfile" in str(done.exception)


def test_a_word_that_is_nearly_a_topic_or_a_command_is_suggested() -> None:
    for word, hint in (("quikstart", "quickstart"), ("Serv", "serve"), ("modle", "models")):
        done = CliRunner().invoke(app, ["help", word])

        assert isinstance(done.exception, NotFoundError)
        assert done.exception.hint == f"localrun help {hint}"


def test_help_of_a_command_is_that_of_its_option() -> None:
    for words in (["stop"], ["backend"], ["backend", "add"]):
        done = CliRunner().invoke(app, ["help", *words])
        option = CliRunner().invoke(app, [*words, "--help"])

        assert (done.exit_code, done.output) == (0, option.output)


def test_a_word_that_names_no_command_of_a_group_is_an_error() -> None:
    done = CliRunner().invoke(app, ["help", "backend", "bogus"])

    assert done.exit_code == 2
    assert "bogus" in done.output


def test_no_text_of_a_command_has_what_rich_takes_for_markup() -> None:
    for page in command_pages():
        texts = [*page.paragraphs, *(term.meaning for term in (*page.arguments, *page.options))]

        assert not [text for text in texts if "[" in text], page.name


def test_help_of_serve_names_where_its_settings_are() -> None:
    written = CliRunner().invoke(app, ["serve", "--help"]).output

    assert "localrun help server" in written
    assert "LOCALRUN_HOST" in written


def test_every_page_is_a_topic() -> None:
    pages = {path.stem for path in (SOURCES / "docs" / "help").glob("*.md")}

    assert pages == set(TOPICS) - set(GENERATED)
