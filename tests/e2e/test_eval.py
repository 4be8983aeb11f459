"""``localrun eval`` on the embedded model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.conftest import make_home

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.conftest import Home

TASKS: list[dict[str, Any]] = [
    {"prompt": "How do I download a model?", "contains": "localrun pull"},
    {"prompt": "What is 7 + 5?", "number": 12},
    {"prompt": "What is 7 + 5?", "number": 13, "id": "wrong"},
    {
        "prompt": "How do I download a model?",
        "choices": ["Type `localrun pull NAME`", "The moon is made of cheese"],
        "answer": 0,
    },
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    found = make_home(tmp_path_factory.mktemp("eval"))
    yield found
    found.run("stop", "--server")


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    path = tmp_path / "tasks.jsonl"
    path.write_text("".join(json.dumps(task) + "\n" for task in TASKS))
    return path


def test_the_rate_and_what_failed(home: Home, tasks: Path) -> None:
    done = home.run("eval", "guide", str(tasks), "--max-tokens", "60")

    assert done.returncode == 0, done.stderr
    assert "3 of 4" in done.stdout
    assert "its last number is 12, not 13" in done.stdout


def test_as_json_with_a_second_model_and_a_threshold(home: Home, tasks: Path) -> None:
    output = tasks.with_name("results.jsonl")
    home.run("cp", "guide", "other")
    options = ("--json", "--fail-under", "80", "-o", str(output), "--max-tokens", "60")

    done = home.run("eval", "guide", str(tasks), "--against", "other", *options)

    told = json.loads(done.stdout)
    assert done.returncode == 1
    assert told.keys() == {"models", "comparison"}
    assert told["models"][0].keys() == {
        "model", "tasks", "passed", "errors", "rate", "low", "high", "kinds", "failures",
    }  # fmt: skip
    assert told["comparison"] == {"only_first": 0, "only_second": 0, "p": 1.0}
    assert [each["id"] for each in told["models"][0]["failures"]] == ["wrong"]
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [line["model"] for line in lines] == ["guide:latest"] * 4 + ["other:latest"] * 4


def test_a_full_disk_loses_no_results(home: Home, tasks: Path) -> None:
    done = home.run("eval", "guide", str(tasks), "--limit", "1", "--json", "-o", "/dev/full")

    assert done.returncode == 8
    assert json.loads(done.stdout)["models"][0]["tasks"] == 1


def test_a_task_that_is_not_answered_is_no_failure_of_the_model(home: Home) -> None:
    task = json.dumps({"prompt": "x " * 5000, "exact": "y"})

    done = home.run("eval", "guide", "-", stdin=task)

    assert done.returncode == 9
    assert "1 task was not answered" in done.stderr
    assert "0 of 1" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "stdin", "exit_code", "message"),
    [
        (["guide", "nothing.jsonl"], "", 2, "nothing.jsonl does not exist"),
        (["guide", "-"], '{"prompt": "x"}', 2, "stdin, line 1"),
        (["guide", "-", "--against", "guide:latest"], '{"prompt": "x", "exact": "y"}', 2, "itself"),
        (["no-such-model", "-"], '{"prompt": "x", "exact": "y"}', 3, "no-such-model"),
    ],
)
def test_what_is_wrong_is_named(
    home: Home, arguments: list[str], stdin: str, exit_code: int, message: str
) -> None:
    done = home.run("eval", *arguments, stdin=stdin)

    assert done.returncode == exit_code
    assert message in done.stderr
