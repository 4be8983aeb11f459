"""Tasks in the short form, samples of lm-evaluation-harness, lines of data sets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from localrun.errors import StorageError, UsageError
from localrun.evaluation.samples import as_short_form
from localrun.evaluation.tasks import TaskKind, parse_task, read_tasks

if TYPE_CHECKING:
    from pathlib import Path


def parsed(**fields: Any) -> Any:
    return parse_task(as_short_form(fields), 1)


def test_a_task_has_a_prompt_and_one_way_of_comparing() -> None:
    task = parsed(prompt="2 + 2", number=4, system="Be short.", id="sum", tolerance=1)

    assert (task.id, task.kind, task.target, task.tolerance) == ("sum", TaskKind.NUMBER, 4, 1.0)
    assert [each["role"] for each in task.messages] == ["system", "user"]
    assert task.prompt == "2 + 2"


def test_messages_are_kept() -> None:
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]

    assert list(parsed(messages=messages, exact="x").messages) == messages


def test_an_answer_is_a_number_or_one_of_the_choices() -> None:
    by_text = parsed(prompt="x", choices=["a", "b"], answer="b")
    by_number = parsed(prompt="x", choices=["a", "b"], answer=1)

    assert by_text.target == by_number.target == 1


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"prompt": "x"},
        {"prompt": "x", "exact": "a", "number": 1},
        {"exact": "a"},
        {"prompt": "x", "exact": []},
        {"prompt": "x", "contains": [1]},
        {"prompt": "x", "regex": "("},
        {"prompt": "x", "number": "4"},
        {"prompt": "x", "number": True},
        {"prompt": "x", "number": 1, "tolerance": "a"},
        {"prompt": "x", "schema": "{}"},
        {"prompt": "x", "judge": ""},
        {"prompt": "x", "choices": ["a"], "answer": 0},
        {"prompt": "x", "choices": ["a", "b"], "answer": 2},
        {"prompt": "x", "choices": ["a", "b"], "answer": True},
        {"prompt": "x", "choices": ["a", 3], "answer": 0},
        {"messages": [3], "exact": "a"},
    ],
)
def test_what_is_no_task_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        parsed(**fields)


DATA_SETS: list[tuple[dict[str, Any], str, Any, Any]] = [
    ({"question": "q?", "choices": ["w", "x", "y"], "answer": 2}, "choices", 2, " C"),
    (
        {
            "question": "q?",
            "choices": {"text": ["x", "y"], "label": ["A", "B"]},
            "answerKey": "B",
        },
        "choices",
        1,
        " y",
    ),
    (
        {
            "question": {
                "stem": "q?",
                "choices": [{"text": "x", "label": "1"}, {"text": "y", "label": "2"}],
            },
            "answerKey": "2",
        },
        "choices",
        1,
        " y",
    ),
    ({"ctx": "A man", "endings": ["a", "b", "c"], "label": "2"}, "choices", 2, " c"),
    ({"goal": "g", "sol1": "a", "sol2": "b", "label": 0}, "choices", 0, " a"),
    ({"passage": "p", "question": "is it", "answer": True}, "choices", 1, " yes"),
    ({"question": "q?", "answer": "so it is\n#### 1,234"}, "number", 1234.0, None),
]


@pytest.mark.parametrize(("fields", "kind", "target", "choice"), DATA_SETS)
def test_lines_of_data_sets_are_tasks(
    fields: dict[str, Any], kind: str, target: Any, choice: str | None
) -> None:
    for line in (fields, {"doc_id": 7, "doc": fields, "target": "x"}):
        task = parsed(**line)
        assert (task.kind.value, task.target) == (kind, target)
        if choice is not None:
            assert task.choices[task.target] == choice


def test_a_sample_of_an_unknown_data_set_has_its_prompt_and_target() -> None:
    generated = parsed(doc_id=3, doc={"a": 1}, target=" Paris", arguments=[["Capital?", {}]])
    pairs = {
        "gen_args_0": {"arg_0": "q", "arg_1": " a"},
        "gen_args_1": {"arg_0": "q", "arg_1": " b"},
    }
    chosen = parsed(doc={"a": 1}, target="1", arguments=pairs)

    assert (generated.id, generated.prompt, generated.target) == ("3", "Capital?", "Paris")
    assert (chosen.prompt, chosen.choices, chosen.target) == ("q", (" a", " b"), 1)


def test_a_file_is_read_up_to_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    line = json.dumps({"prompt": "x", "exact": "y"})
    path.write_text(f"\n{line}\n{line}\n{line}\nbroken")

    assert len(read_tasks(path, "tasks", 3)) == 3
    with pytest.raises(UsageError, match="tasks, line 5"):
        read_tasks(path, "tasks")


@pytest.mark.parametrize("content", ["", "\n", "[]", "3", "{broken"])
def test_a_file_without_tasks_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text(content)

    with pytest.raises(UsageError):
        read_tasks(path, "tasks")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="tasks cannot be read"):
        read_tasks(tmp_path, "tasks")
