"""Workflows of GitHub: by their schema, with the least rights, and naming what exists."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import environment
import pytest
import yaml

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = environment.ROOT / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))
OURS = re.compile(r"(?<![\w/.-])(scripts/[a-z-]+(?:/[a-z]+\.txt)?|\.ci/run)(?![\w-])")
USES = re.compile(r"^ +- uses: (.+)$", re.MULTILINE)
PINNED = re.compile(r"(actions/[a-z-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)")
EXPRESSION = re.compile(r"\$\{\{.*?\}\}")


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.name)
def workflow(request: pytest.FixtureRequest) -> dict[Any, Any]:
    value: dict[Any, Any] = yaml.safe_load(request.param.read_text())
    return value


def jobs(workflow: dict[Any, Any]) -> list[dict[str, Any]]:
    return list(workflow["jobs"].values())


def steps(workflow: dict[Any, Any]) -> list[dict[str, Any]]:
    return [step for job in jobs(workflow) for step in job["steps"]]


def follow_schema(*paths: Path) -> bool:
    schema = ["--builtin-schema", "vendor.github-workflows"]
    command = [sys.executable, "-m", "check_jsonschema", *schema, *map(str, paths)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def test_workflows_follow_the_schema(tmp_path: Path) -> None:
    pytest.importorskip("check_jsonschema", reason="scripts/check installs the schema")
    wrong = tmp_path / "wrong.yml"
    wrong.write_text((FOLDER / "ci.yml").read_text().replace("runs-on:", "run-on:"))

    assert follow_schema(*WORKFLOWS)
    assert not follow_schema(wrong)


def test_a_job_may_only_read_unless_it_attaches(workflow: dict[Any, Any]) -> None:
    assert workflow["permissions"] == {"contents": "read"}
    more = {job["name"]: job["permissions"] for job in jobs(workflow) if "permissions" in job}
    assert more in ({}, {"Attach to a draft": {"contents": "write"}})


def test_all_actions_are_those_of_github_at_one_commit_each() -> None:
    texts = [path.read_text() for path in WORKFLOWS]
    used = [line for text in texts for line in USES.findall(text)]

    assert len(used) == sum(text.count("uses:") for text in texts)
    assert [line for line in used if not PINNED.fullmatch(line)] == []
    assert len(set(used)) == len({line.partition("@")[0] for line in used})


def test_no_text_from_outside_becomes_part_of_a_script(workflow: dict[Any, Any]) -> None:
    scripts = [step["run"] for step in steps(workflow) if "run" in step]

    assert [script for script in scripts if EXPRESSION.search(script)] == []


def test_what_a_workflow_runs_exists(workflow: dict[Any, Any]) -> None:
    named = {name for step in steps(workflow) for name in OURS.findall(step.get("run", ""))}

    assert named
    assert sorted(name for name in named if not (environment.ROOT / name).exists()) == []


def test_the_scripts_of_steps_are_scripts_of_bash(workflow: dict[Any, Any]) -> None:
    for script in (step["run"] for step in steps(workflow) if "run" in step):
        done = subprocess.run(["bash", "-n"], input=script, check=False, text=True)
        assert done.returncode == 0, script
        shlex.split(script, comments=True)


def test_a_release_is_for_four_systems() -> None:
    workflow = yaml.safe_load((FOLDER / "release.yml").read_text())

    matrices = [job["strategy"]["matrix"]["include"] for job in jobs(workflow) if "strategy" in job]
    assert {row["runner"] for rows in matrices for row in rows} == {
        "ubuntu-24.04",
        "ubuntu-24.04-arm",
        "macos-15",
        "windows-2025",
    }
    assert workflow[True]["push"] == {"tags": ["v*"]}  # YAML reads `on` as true
    assert set(workflow["jobs"]["attach"]["needs"]) == {"linux", "folder"}
