"""Prompts from words, pipes and files, and results in files and as vectors."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from localrun.cli import prompt as prompt_module
from localrun.cli.prompt import read_all
from localrun.cli.serving.result_file import check_output
from localrun.cli.serving.run_input import PATH_MARK
from localrun.errors import BodyTooLargeError, StorageError
from localrun.store.store import embedded_models

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Localrun
    from tests.cli.fake_server import FakeServer


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def prompt(server: FakeServer) -> str:
    (body,) = server.script.heard
    (message,) = body["messages"]
    return str(message["content"])


@pytest.mark.parametrize(
    ("words", "stdin", "expected"),
    [
        (["Sum", "up"], "text\n", "Sum up\n\ntext"),
        (["Sum", "-", "up"], "text\n", "Sum text up"),
        (["-"], "text", "text"),
        (["a - b"], "text", "a - b\n\ntext"),
        ([], "see @notes.txt", "see @notes.txt"),
    ],
)
def test_stdin_follows_the_words_or_takes_its_place(
    localrun: Localrun, server: FakeServer, words: list[str], stdin: str, expected: str
) -> None:
    done = localrun("run", "guide", *words, stdin=stdin)

    assert done.returncode == 0
    assert prompt(server) == expected


def test_files_stand_before_the_prompt_with_their_names(
    localrun: Localrun, server: FakeServer, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("one\n")
    (tmp_path / "b.md").write_bytes("zwei".encode("utf-16"))

    done = localrun("run", "guide", "Compare.", "--file", "a.txt", "--file", "b.md", stdin="x")

    assert done.returncode == 0
    assert prompt(server) == (
        "File a.txt:\n```\none\n```\n\nFile b.md:\n```\nzwei\n```\n\nCompare.\n\nx"
    )


def test_a_marked_path_in_the_words_is_attached(
    localrun: Localrun, server: FakeServer, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("one\n")

    localrun("run", "guide", "what is in @a.txt and in a.txt?")

    assert prompt(server) == (
        "File a.txt:\n```\none\n```\n\nwhat is in [file 1: a.txt] and in a.txt?"
    )


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [("none.txt", None, 3), ("x.bin", b"\0\1\2\xff" * 50, 2), ("x.docx", b"PK\3\4", 2)],
)
def test_a_file_that_is_no_text_is_refused_by_its_name(
    localrun: Localrun, server: FakeServer, tmp_path: Path, name: str, content: bytes, code: int
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)

    done = localrun("run", "guide", "Sum", "--file", name)

    assert done.returncode == code
    assert name in done.stderr
    assert server.script.heard == []


def test_the_hint_of_a_wrong_kind_of_file_is_the_option_of_the_other(
    localrun: Localrun, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_text("text")
    (tmp_path / "b.txt").write_bytes(b"\x89PNG\r\n\x1a\n")

    text = localrun("run", "guide", "What?", "--image", "a.png")
    image = localrun("run", "guide", "What?", "--file", "b.txt")

    assert (text.returncode, image.returncode) == (2, 2)
    assert "hint: --file a.png" in text.stderr
    assert "hint: --image b.txt" in image.stderr


@pytest.mark.parametrize("option", ["--file", "--image"])
def test_an_empty_file_is_refused_by_its_name(
    localrun: Localrun, server: FakeServer, tmp_path: Path, option: str
) -> None:
    (tmp_path / "a.txt").write_bytes(b"")

    done = localrun("run", "guide", "What?", option, "a.txt")

    assert (done.returncode, done.stderr) == (2, "error: a.txt is empty\n")
    assert server.script.heard == []


def test_an_error_about_a_medium_names_its_file(
    localrun: Localrun, server: FakeServer, tmp_path: Path
) -> None:
    for name in ("a.pdf", "b.pdf"):
        (tmp_path / name).write_bytes(b"%PDF-1.4\n")
    server.script.answer = [{"error": "messages[0].images[1] is a damaged PDF"}]

    done = localrun("run", "guide", "What?", "--file", "a.pdf", "--file", "b.pdf")

    assert "error: b.pdf is a damaged PDF" in done.stderr


def test_a_sound_needs_a_model_that_hears(
    localrun: Localrun, server: FakeServer, tmp_path: Path
) -> None:
    (tmp_path / "note.wav").write_bytes(b"RIFF\x24\0\0\0WAVEfmt " + bytes(50))
    shutil.copy(embedded_models()["guide:latest"], tmp_path / "text.gguf")  # without projector
    assert localrun("create", "text", "-f", "-", stdin="FROM ./text.gguf\n").returncode == 0

    refused = localrun("run", "text", "What?", "--audio", "note.wav")
    noted = localrun("run", "text", "What is in ./note.wav?")

    assert refused.returncode == 2
    assert "note.wav: sounds cannot be sent, the model takes none" in refused.stderr
    assert noted.returncode == 0
    assert "not attached: ./note.wav" in noted.stderr
    assert prompt(server) == "What is in ./note.wav?"


def test_the_answer_is_written_to_a_file(localrun: Localrun, tmp_path: Path) -> None:
    (tmp_path / "answer.txt").write_text("before")

    done = localrun("run", "guide", "hi", "-o", "answer.txt")
    as_json = localrun("run", "guide", "hi", "--json", "--output", "answer.json")

    assert (done.returncode, done.stdout) == (0, "")
    assert (tmp_path / "answer.txt").read_text() == "Hello.\n"
    assert as_json.stdout == ""
    assert json.loads((tmp_path / "answer.json").read_text())["content"] == "Hello."
    assert sorted(file.name for file in tmp_path.glob("answer*")) == ["answer.json", "answer.txt"]


def test_a_failed_answer_leaves_the_file_as_it_was(
    localrun: Localrun, server: FakeServer, tmp_path: Path
) -> None:
    (tmp_path / "answer.txt").write_text("before")
    server.script.answer = [{"error": "out of luck"}]

    done = localrun("run", "guide", "hi", "-o", "answer.txt")

    assert done.returncode != 0
    assert (tmp_path / "answer.txt").read_text() == "before"


@pytest.mark.skipif(sys.platform == "win32", reason="devices of Unix")
def test_a_device_gets_the_answer_itself(localrun: Localrun) -> None:
    done = localrun("run", "guide", "hi", "-o", os.devnull)

    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("output", [".", "missing/answer.txt"])
def test_a_file_that_cannot_be_written_is_refused_before_the_answer(
    localrun: Localrun, server: FakeServer, output: str
) -> None:
    done = localrun("run", "guide", "hi", "-o", output)

    assert done.returncode == 2
    assert server.script.heard == []


@pytest.mark.parametrize(
    ("flag", "think"), [("--think", True), ("--think=low", "low"), ("--no-think", False)]
)
def test_reasoning_has_levels(
    localrun: Localrun, server: FakeServer, flag: str, think: object
) -> None:
    localrun("run", "guide", flag, "why?")

    (body,) = server.script.heard
    assert body["think"] == think


def test_an_unknown_level_is_refused(localrun: Localrun, server: FakeServer) -> None:
    done = localrun("run", "guide", "--think=loud", "why?")

    assert done.returncode == 2
    assert "--think=loud" in done.stderr
    assert server.script.heard == []


@pytest.mark.parametrize(
    ("words", "need"),
    [
        (["guide", "-c", "why?"], "--continue needs a terminal, and no prompt"),
        (["--chat", "12345678"], "--chat needs a terminal, and no prompt"),
        (["guide", "--dimensions", "3", "why?"], "--dimensions needs an embedding model"),
        (["guide", "--truncate", "why?"], "--truncate needs an embedding model"),
    ],
)
def test_an_option_without_effect_is_refused(
    localrun: Localrun, server: FakeServer, words: list[str], need: str
) -> None:
    done = localrun("run", *words)

    assert done.returncode == 2
    assert need in done.stderr
    assert server.script.heard == []


def test_a_folder_that_is_not_writable_is_refused_before_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = []
    monkeypatch.setattr(os, "access", lambda path, _mode: refused.append(path))

    with pytest.raises(StorageError, match="not writable"):
        check_output(str(tmp_path / "answer.txt"))

    assert refused == [tmp_path.resolve()]


def test_an_endless_pipe_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_module, "MAX_INPUT", 10)

    assert read_all(io.TextIOWrapper(io.BytesIO(b"a" * 10))) == "a" * 10
    with pytest.raises(BodyTooLargeError):
        read_all(io.TextIOWrapper(io.BytesIO(b"a" * 11)))


@pytest.mark.parametrize(
    ("typed", "is_path"),
    [("Hello. And you?", False), ("What...", False), ("photo.jpg", True), ("@notes", True),
     ("~/x", True), ("a\\b", True)],
)  # fmt: skip
def test_a_sentence_is_not_searched_for_paths(typed: str, *, is_path: bool) -> None:
    assert bool(PATH_MARK.search(typed)) == is_path
