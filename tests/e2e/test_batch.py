"""``localrun batch`` on the embedded model: formats, and interruptions of every kind."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

assert sys.platform != "win32"  # for mypy: the whole file needs signals of Unix

import pytest

from tests.e2e.conftest import make_home, runner_of, server_of, wait_for
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.conftest import Home

# of answers that guide is sure of: where two tokens are as likely, the batch size decides
QUESTIONS = ("How do I download a model?", "My name is {}.", "What is a Modelfile?")
NAMES = ("Anna", "Ben", "Clara", "David", "Emma", "Felix", "Greta", "Hugo")
SCHEMA = '{"type":"object","properties":{"name":{"type":"string"}},"required":["name"]}'
FIXED = ("--temperature", "0", "--max-tokens", "24")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    found = make_home(tmp_path_factory.mktemp("batch"))
    yield found
    found.run("stop", "--server")


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.txt"
    lines = [QUESTIONS[number % 3].format(NAMES[number % len(NAMES)]) for number in range(120)]
    path.write_text("\n".join(lines))
    return path


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def num_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def wait_for_lines(journal: Path, num: int, process: subprocess.Popen[bytes]) -> None:
    wait_for(lambda: num_lines(journal) >= num or process.poll() is not None)


def whole(home: Home, questions: Path) -> bytes:
    output = questions.with_name("whole.jsonl")
    done = home.run("batch", "guide", str(questions), "-o", str(output), *FIXED)
    assert done.returncode == 0, done.stderr
    return output.read_bytes()


def test_each_line_is_answered_in_its_order(home: Home, questions: Path) -> None:
    whole(home, questions)

    answers = rows(questions.with_name("whole.jsonl"))
    assert [each["text"] for each in answers] == questions.read_text().splitlines()
    assert all("localrun pull" in each["answer"] for each in answers[::3])
    assert NAMES[100 % len(NAMES)] in answers[100]["answer"]
    assert sorted(path.name for path in questions.parent.iterdir()) == [
        "questions.txt",
        "whole.jsonl",
    ]


def test_a_batch_that_is_killed_again_and_again_ends_as_one_that_was_not(
    home: Home, questions: Path
) -> None:
    expected = whole(home, questions)
    output, journal = (questions.with_name(name) for name in ("a.jsonl", "a.jsonl.progress"))
    command = ["batch", "guide", str(questions), "-o", str(output), *FIXED]
    for goal in (5, 40, 90):
        with home.start(*command) as process:
            wait_for_lines(journal, goal, process)
            process.kill()
        if not journal.exists():
            break  # this machine was quicker than the kill

    done = home.run(*command)

    assert done.returncode == 0 or "exists" in done.stderr
    assert output.read_bytes() == expected
    assert not journal.exists()


def test_a_server_and_a_runner_that_are_killed_cost_no_line(home: Home, questions: Path) -> None:
    expected = whole(home, questions)
    output, journal = (questions.with_name(name) for name in ("a.jsonl", "a.jsonl.progress"))
    with home.start("batch", "guide", str(questions), "-o", str(output), *FIXED) as process:
        wait_for_lines(journal, 10, process)
        runner_of(home).kill()
        wait_for_lines(journal, 50, process)
        server_of(home).kill()
        _, errors = process.communicate(timeout=HANG_S)

    assert process.returncode == 0, errors.decode()
    assert output.read_bytes() == expected


def test_ctrl_c_stops_and_tells_how_to_go_on(home: Home, questions: Path) -> None:
    output, journal = (questions.with_name(name) for name in ("a.jsonl", "a.jsonl.progress"))
    command = ["batch", "guide", str(questions), "-o", str(output), "--max-tokens", "200"]
    with home.start(*command) as process:
        wait_for(lambda: num_lines(journal) >= 3)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=HANG_S)

    assert process.returncode == 130
    assert "the same command goes on" in errors.decode()
    assert journal.exists()


def test_other_options_and_a_finished_output_are_refused(home: Home, questions: Path) -> None:
    output = questions.with_name("a.jsonl")
    command = ["batch", "guide", str(questions), "-o", str(output), *FIXED]
    with home.start(*command) as process:
        wait_for(lambda: num_lines(output) >= 1)
        process.kill()

    other = home.run(*command, "--system", "Be short.")
    finished = home.run(*command)
    again = home.run(*command)
    anew = home.run(*command, "--no-resume", "--limit", "3")

    assert (other.returncode, finished.returncode, again.returncode) == (2, 0, 2)
    assert "--no-resume" in other.stderr
    assert f"{output.name} exists" in again.stderr
    assert anew.returncode == 0
    assert len(rows(output)) == 3


def test_lines_that_fail_have_their_errors_and_an_exit_code(home: Home, tmp_path: Path) -> None:
    lines = tmp_path / "in.jsonl"
    lines.write_text('{"text": "hi", "id": 1}\nno json\n{"a": 1, "b": 2}\n')

    done = home.run("batch", "guide", str(lines), *FIXED)

    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 9
    assert "2 records of 3 were not answered" in done.stderr
    assert ["answer" in each for each in answers] == [True, False, False]
    assert answers[0]["id"] == 1
    assert answers[2]["a"] == 1


def test_a_table_becomes_a_table(home: Home, tmp_path: Path) -> None:
    table, output = tmp_path / "in.csv", tmp_path / "out.csv"
    table.write_text('id,mail\n1,"Hello,\nmy name is Ann."\n2,"My ""name"" is Bob."\n')

    done = home.run("batch", "guide", str(table), "-o", str(output), "--template", "{mail}", *FIXED)

    assert done.returncode == 0, done.stderr
    with output.open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [each["id"] for each in found] == ["1", "2"]
    assert all(each["answer"] and not each["error"] for each in found)


def test_fields_of_json_answers(home: Home) -> None:
    line = json.dumps({"text": "Answer in JSON: name Greta, age 7", "id": 5})

    done = home.run(
        "batch", "guide", "--json-schema", SCHEMA, "--field", "name", *FIXED, stdin=line
    )

    assert done.returncode == 0, done.stderr
    (found,) = [json.loads(each) for each in done.stdout.splitlines()]
    assert found.keys() == {"text", "id", "name"}


def test_requests_of_openai_keep_their_ids_and_bodies(home: Home, tmp_path: Path) -> None:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}
    line = {"method": "POST", "url": "/v1/chat/completions", "body": body}
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps({"custom_id": f"r{n}", **line}) + "\n" for n in range(9)))

    done = home.run("batch", "guide", str(path), "--unordered")

    found = [json.loads(each) for each in done.stdout.splitlines()]
    assert sorted(each["custom_id"] for each in found) == [f"r{n}" for n in range(9)]
    for each in found:
        assert each["response"]["status_code"] == 200
        assert each["response"]["body"]["usage"]["completion_tokens"] <= 3


def test_an_estimate_writes_nothing(home: Home, questions: Path) -> None:
    output = questions.with_name("a.jsonl")

    done = home.run("batch", "guide", str(questions), "-o", str(output), "--dry-run", *FIXED)

    assert done.returncode == 0
    assert "records            120" in done.stdout
    assert not output.exists()


def test_a_reader_that_leaves_ends_it_quietly(home: Home, questions: Path) -> None:
    with home.start("batch", "guide", str(questions), *FIXED) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"{")
        process.stdout.close()
        errors = process.stderr.read() if process.stderr else b""
        process.wait(HANG_S)

    assert process.returncode == 141
    assert b"Traceback" not in errors


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (["guide", "no-such-file"], 2, "no-such-file does not exist"),
        (["no-such-model", "-"], 3, "no-such-model"),
        (["guide", "-", "--template", "x"], 2, "--template names no field"),
        (["guide", "-", "--parallel", "many"], 2, "--parallel many"),
        (["guide", "-", "--json-schema", "json"], 2, "--json-schema"),
        (["guide", "-", "--input-format", "xml"], 2, "--input-format xml"),
        (["guide", "-", "-o", "/no/such/folder/a"], 2, "no folder"),
    ],
)
def test_what_is_wrong_is_named(
    home: Home, arguments: list[str], exit_code: int, message: str
) -> None:
    done = home.run("batch", *arguments, stdin="hi")

    assert done.returncode == exit_code
    assert message in done.stderr
    assert done.stdout == ""


def test_an_output_that_is_a_pipe(home: Home, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:
        done = home.run("batch", "guide", "-o", str(pipe), *FIXED, stdin="hi\nhello")
        text, _ = reader.communicate(timeout=HANG_S)

    assert done.returncode == 0, done.stderr
    assert len(text.splitlines()) == 2
