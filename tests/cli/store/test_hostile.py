"""Names that others chose cannot play with the terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from localrun.cli.output import Output
from localrun.cli.progress import shown_progress
from localrun.errors import NotFoundError
from localrun.terminal import plain
from tests.services.making import FILES, gguf

if TYPE_CHECKING:
    import pytest

    from tests.cli.conftest import Localrun
    from tests.fakes.hub import FakeHub

ESCAPE = "\033]0;owned\007"
EVIL = f"a{ESCAPE}\nguide:latest \u202e\x9b31m-Q4_K_M.gguf"


def test_a_file_name_of_a_hub_is_printed_without_its_tricks(
    localrun: Localrun, hub: FakeHub
) -> None:
    hub.add("owner/evil", {EVIL: gguf(1)})

    texts = [
        localrun("pull", "hf:owner/evil", *options)
        for options in (["--dry-run"], ["--dry-run", "--json"], [], ["--json"])
    ]
    missing = localrun("pull", "hf:owner/evil/other.gguf")

    for done in (*texts, missing):
        printed = done.stdout + done.stderr
        assert not set("\033\007\x9b\u202e") & set(printed), printed
        assert not any(line.startswith("guide") for line in printed.splitlines())
    assert json.loads(texts[1].stdout)["files"][0]["file"] == EVIL


def test_a_repository_in_a_search_is_one_row(localrun: Localrun, hub: FakeHub) -> None:
    hub.add("owner/nice-GGUF", FILES)
    hub.repos[f"owner/nice{ESCAPE}\nfake"] = hub.repos["owner/nice-GGUF"]
    hub.repos[f"owner/nice{ESCAPE}\nfake"].repo_id = f"owner/nice{ESCAPE}\nfake"

    done = localrun("search", "nice")

    assert "\033" not in done.stdout + done.stderr
    assert not any(line.startswith("fake") for line in done.stdout.splitlines())


def test_what_a_terminal_does_not_print_becomes_a_question_mark() -> None:
    assert plain(EVIL) == "a?]0;owned??guide:latest ??31m-Q4_K_M.gguf"
    assert plain("Qwen3 模型 é") == "Qwen3 模型 é"


def test_errors_notes_and_progress_are_plain(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output()

    output.error(NotFoundError(EVIL, hint=EVIL))
    output.note(f"{ESCAPE}two\nlines")
    with shown_progress(output) as report:
        report.note(ESCAPE)
        report.advance(EVIL, 5, 5)

    printed = capsys.readouterr().err
    assert not set("\033\007\x9b") & set(printed)
    assert printed.splitlines()[0] == f"error: {plain(EVIL)}"
    assert printed.splitlines()[1] == f"hint: {plain(EVIL)}"


def test_json_is_the_same_value_without_what_a_terminal_obeys(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Output().event({"name": EVIL})
    Output().json({"name": EVIL})

    line, *more = capsys.readouterr().out.splitlines()
    assert json.loads(line) == json.loads("\n".join(more)) == {"name": EVIL}
    assert not set("\033\x9b\u202e") & set(line)
