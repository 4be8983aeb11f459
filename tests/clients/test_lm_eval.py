"""lm-evaluation-harness against the server: log probabilities of choices, and answers of a chat."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.conftest import Home

PYTHON = "LOCALRUN_TEST_CLIENTS_PYTHON"
PATIENCE_S = 280
CHOICES: list[dict[str, Any]] = [
    {"q": "How do I download a model?", "c": [" Type `localrun pull NAME`", " The moon"], "a": 0},
    {"q": "How do I list models?", "c": [" Cheese.", " `localrun list`"], "a": 1},
]
ANSWERS = [{"q": "What is 7 + 5?", "t": "7 + 5 = 12."}]
TASKS: dict[str, dict[str, Any]] = {
    "choices": {
        "output_type": "multiple_choice",
        "doc_to_text": "{{q}}",
        "doc_to_choice": "{{c}}",
        "doc_to_target": "{{a}}",
        "metric_list": [{"metric": "acc"}],
    },
    "answers": {
        "output_type": "generate_until",
        "doc_to_text": "{{q}}",
        "doc_to_target": "{{t}}",
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": 40},
        "metric_list": [{"metric": "exact_match"}],
    },
}
DOCUMENTS = {"choices": CHOICES, "answers": ANSWERS}

pytestmark = [
    pytest.mark.clients,
    pytest.mark.skipif(
        PYTHON not in os.environ,
        reason=os.environ.get(f"{PYTHON}_MISSING", "scripts/test --clients runs it"),
    ),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the tasks, which need no data set of a hub."""
    for name, task in TASKS.items():
        data = tmp_path / f"{name}.jsonl"
        data.write_text("".join(json.dumps(each) + "\n" for each in DOCUMENTS[name]))
        source = {
            "task": name,
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": str(data)}},
            "test_split": "test",
        }
        (tmp_path / f"{name}.yaml").write_text(json.dumps({**source, **task}))  # JSON is YAML
    return tmp_path


def evaluated(home: Home, folder: Path, task: str, *options: str) -> dict[str, Any]:
    """Return the figures of a task."""
    program = [os.environ[PYTHON], "-m", "lm_eval", "--include_path", str(folder)]
    environ = {**home.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    done = subprocess.run(
        [*program, "--tasks", task, "--output_path", str(folder / "out"), *options],
        env=environ,
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (report,) = (folder / "out").rglob("results_*.json")
    figures: dict[str, Any] = json.loads(report.read_text())["results"][task]
    return figures


def test_choices_by_log_probabilities(home: Home, folder: Path) -> None:
    server = f"base_url={home.url}/v1/completions,tokenizer_backend=remote,tokenized_requests=False"

    figures = evaluated(
        home, folder, "choices", "--model", "local-completions", "--model_args",
        f"model=guide,{server}",
    )  # fmt: skip

    assert figures["acc,none"] == 1.0


def test_answers_of_a_chat(home: Home, folder: Path) -> None:
    server = f"base_url={home.url}/v1/chat/completions,tokenizer_backend=None"

    figures = evaluated(
        home, folder, "answers", "--model", "local-chat-completions", "--apply_chat_template",
        "--model_args", f"model=guide,{server}",
    )  # fmt: skip

    assert figures["exact_match,none"] == 1.0
