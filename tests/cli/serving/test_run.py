"""``localrun run`` with a prompt."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.fake_server import END, FakeServer, say
from tests.program import PROGRAM
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from tests.cli.conftest import Localrun


def start(server: FakeServer, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*PROGRAM, "run", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=server.environment(folder),
    )


def test_the_answer_goes_to_stdout_and_ends_its_line(localrun: Localrun) -> None:
    done = localrun("run", "guide", "How", "are", "you?")

    assert (done.returncode, done.stdout, done.stderr) == (0, "Hello.\n", "")


def test_the_flags_reach_the_server(localrun: Localrun, server: FakeServer) -> None:
    flags = [
        "--system", "Be short.", "--temperature", "0.5", "--top-p", "0.9", "--top-k", "7",
        "--min-p", "0.1", "--seed", "3", "--num-predict", "5", "--ctx", "4k", "--stop", "a",
        "--stop", "b", "--format", "json", "--think",
    ]  # fmt: skip

    localrun("run", "guide", "hi", *flags)

    (body,) = server.script.heard
    assert body["messages"] == [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "hi"},
    ]
    assert body["options"] == {
        "temperature": 0.5, "top_p": 0.9, "top_k": 7, "min_p": 0.1, "seed": 3,
        "num_predict": 5, "num_ctx": 4096, "stop": ["a", "b"],
    }  # fmt: skip
    assert (body["format"], body["think"]) == ("json", True)


def test_what_is_not_asked_for_is_left_to_the_server(
    localrun: Localrun, server: FakeServer
) -> None:
    localrun("run", "guide", "hi")

    (body,) = server.script.heard
    assert body["options"] == {}
    assert not {"format", "think", "keep_alive"} & body.keys()


@pytest.mark.parametrize(
    ("words", "stdin", "prompt"),
    [
        (["Sum", "up:"], "the text\n", "Sum up:\n\nthe text"),
        ([], "the text\n", "the text"),
        (["Sum up:"], "", "Sum up:"),
    ],
)
def test_piped_text_is_the_prompt_or_comes_after_it(
    localrun: Localrun, server: FakeServer, words: list[str], stdin: str, prompt: str
) -> None:
    localrun("run", "guide", *words, stdin=stdin)

    assert server.script.heard[0]["messages"][-1]["content"] == prompt


def test_an_empty_pipe_is_a_usage_error(localrun: Localrun, server: FakeServer) -> None:
    done = localrun("run", "guide", stdin=" \n")

    assert done.returncode == 2
    assert done.stderr.startswith("error: the prompt is empty\nhint: ")
    assert server.script.heard == []


def test_an_unknown_model_is_told_before_any_server_is_started(
    localrun_alone: Localrun, tmp_path: Path
) -> None:
    done = localrun_alone("run", "guied", "hi")

    assert done.returncode == 3
    assert done.stderr == "error: model 'guied' is not on this machine\nhint: localrun run guide\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--temperature", "-1"), ("--top-p", "1.5"), ("--min-p", "2"), ("--top-k", "-3"),
        ("--seed", "-1"), ("--num-predict", "0"), ("--ctx", "0"), ("--ctx", "32q"),
        ("--format", "xml"), ("--keep-alive", "soon"),
    ],
)  # fmt: skip
def test_a_value_out_of_range_is_a_usage_error_that_names_the_flag(
    localrun: Localrun, flag: str, value: str
) -> None:
    done = localrun("run", "guide", "hi", flag, value)

    assert done.returncode == 2
    assert flag in done.stderr
    assert "Traceback" not in done.stderr


def test_without_streaming_the_answer_is_printed_once_whole(localrun: Localrun) -> None:
    assert localrun("run", "guide", "hi", "--no-stream").stdout == "Hello.\n"


def test_json_gives_one_object_with_answer_and_figures(localrun: Localrun) -> None:
    done = localrun("run", "guide", "hi", "--json")

    assert json.loads(done.stdout) == {
        "model": "guide:latest",
        "content": "Hello.",
        "thinking": None,
        "tool_calls": [],
        "finish_reason": "stop",
        "prompt_tokens": 10,
        "cached_tokens": None,
        "generated_tokens": 20,
        "total_s": 2.5,
        "load_s": 1.0,
        "prompt_s": 0.5,
        "generation_s": 1.0,
    }


def test_verbose_prints_the_figures_on_stderr(localrun: Localrun) -> None:
    done = localrun("run", "guide", "hi", "--verbose")

    rows = dict(line.split(":") for line in done.stderr.splitlines())
    assert {name: value.strip() for name, value in rows.items()} == {
        "total duration": "2.500 s",
        "load duration": "1.000 s",
        "prompt eval count": "10 tokens",
        "prompt eval duration": "0.500 s",
        "prompt eval rate": "20.0 tokens/s",
        "eval count": "20 tokens",
        "eval duration": "1.000 s",
        "eval rate": "20.0 tokens/s",
    }
    assert done.stdout == "Hello.\n"


def test_what_the_context_had_no_room_for_is_told(localrun: Localrun, server: FakeServer) -> None:
    dropped = {"dropped_messages": 1, "dropped_tokens": 30}
    server.script.answer = [say("Yes."), END | {"localrun": dropped}]

    done = localrun("run", "guide", "hi")

    assert done.stdout == "Yes.\n"
    assert done.stderr == "(the context is full: left out 1 old message, 30 tokens)\n"


def test_thoughts_are_not_part_of_the_answer(localrun: Localrun, server: FakeServer) -> None:
    server.script.answer = [say("", thinking="Hmm."), say("Yes."), END]

    done = localrun("run", "guide", "hi")

    assert (done.stdout, done.stderr) == ("Yes.\n", "")


def test_letters_that_no_encoding_has_do_not_end_the_answer(
    localrun: Localrun, server: FakeServer
) -> None:
    server.script.answer = [say("a\ud83db"), END]

    done = localrun("run", "guide", "hi")

    assert (done.returncode, done.stdout) == (0, "a?b\n")


def test_an_error_in_mid_answer_keeps_the_text_and_has_its_own_exit_code(
    localrun: Localrun, server: FakeServer
) -> None:
    server.script.answer = [
        say("Hel"),
        {"error": "the runner was killed", "code": "runner_died", "hint": "try again"},
    ]

    done = localrun("run", "guide", "hi")

    assert done.returncode == 6
    assert done.stdout.rstrip("\n") == "Hel"
    assert done.stderr.endswith("error: the runner was killed\nhint: try again\n")


def test_a_server_that_dies_in_mid_answer_is_told_with_a_hint(
    localrun: Localrun, server: FakeServer
) -> None:
    server.script.answer = [say("Hel")]

    done = localrun("run", "guide", "hi")

    assert done.returncode == 6
    assert "in the middle of the answer" in done.stderr
    assert "hint: " in done.stderr


def test_a_server_of_another_version_is_told(localrun: Localrun, server: FakeServer) -> None:
    server.script.version["localrun"] = "0.0.1"

    done = localrun("run", "guide", "hi")

    assert done.stdout == "Hello.\n"
    assert "0.0.1" in done.stderr


def test_ctrl_c_keeps_the_text_and_cancels(server: FakeServer, tmp_path: Path) -> None:
    server.script.answer, server.script.holds = [say("Hello")], True
    with start(server, tmp_path, "guide", "hi") as process:
        assert process.stdout is not None
        assert process.stdout.read(5) == "Hello"

        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=HANG_S)

    assert process.returncode == 130
    assert "Traceback" not in errors
    assert server.script.client_left.wait(HANG_S)


def test_a_reader_that_goes_away_ends_the_command_quietly(
    server: FakeServer, tmp_path: Path
) -> None:
    server.script.answer = [say("line\n")] * 5000 + [END]
    with start(server, tmp_path, "guide", "hi") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()

        process.stdout.close()
        errors = process.stderr.read()

    assert process.returncode in {0, 141}
    assert errors == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full disk to write to")
@pytest.mark.parametrize(
    "command", [["run", "guide", "hi"], ["list"], ["list", "--json"], ["--version"]]
)
def test_a_full_disk_is_an_error_without_a_traceback(
    server: FakeServer, tmp_path: Path, command: list[str]
) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*PROGRAM, *command],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=server.environment(tmp_path),
        )

    assert done.returncode == 8
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


PLAIN_C = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
PLAIN_UTF8 = {"LC_ALL": "C.UTF-8"}


def run_bytes(
    server: FakeServer, folder: Path, locale: dict[str, str], *arguments: bytes, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*PROGRAM, "run", "guide", *arguments],
        input=stdin,
        capture_output=True,
        check=False,
        env={**server.environment(folder), **locale},
        timeout=HANG_S,
    )


@pytest.mark.parametrize("locale", [PLAIN_C, PLAIN_UTF8])
def test_a_prompt_in_utf8_is_understood_in_any_locale(
    server: FakeServer, tmp_path: Path, locale: dict[str, str]
) -> None:
    words = "Grüße, 世界".encode()
    flags = [b"--system", words, b"--stop", words, b"--format", b'{"title": "' + words + b'"}']

    done = run_bytes(server, tmp_path, locale, words, *flags, stdin=words + b"\r\n")

    assert (done.returncode, done.stderr) == (0, b"")
    (body,) = server.script.heard
    prompt = "Grüße, 世界\n\nGrüße, 世界"
    assert [message["content"] for message in body["messages"]] == ["Grüße, 世界", prompt]
    assert body["options"]["stop"] == ["Grüße, 世界"]
    assert body["format"] == {"title": "Grüße, 世界"}


@pytest.mark.parametrize("locale", [PLAIN_C, PLAIN_UTF8])
@pytest.mark.parametrize(
    ("arguments", "stdin", "name"),
    [
        ([b"Gr\xfc\xdfe"], b"", "the prompt"),
        ([b"hi", b"--system", b"\xff"], b"", "--system"),
        ([b"hi", b"--stop", b"\xff"], b"", "--stop"),
        ([b"hi", b"--format", b'{"title": "\xff"}'], b"", "--format"),
        ([], b"Gr\xfc\xdfe", "the input from the pipe"),
    ],
)
def test_a_prompt_that_is_not_utf8_is_refused_by_its_name(
    server: FakeServer,
    tmp_path: Path,
    locale: dict[str, str],
    arguments: list[bytes],
    stdin: bytes,
    name: str,
) -> None:
    done = run_bytes(server, tmp_path, locale, *arguments, stdin=stdin)

    assert done.returncode == 2
    assert done.stderr.decode().startswith(f"error: {name} is not UTF-8 text\nhint: ")
    assert server.script.heard == []
