"""Tools of registries, started by ``localrun launch`` and by the files that ``connect`` writes.

The locked clients have Codex and llm. The other tools are started where their programs are: in a
folder that ``LOCALRUN_TEST_CLIENTS_NODE`` names, after ``npm install`` there. Cline leaves a daemon
behind and is started by hand only.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from localrun.integrations.registry import TOOLS
from tests.clients.conftest import fetched
from tests.clients.test_codex import stretched
from tests.program import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.e2e.conftest import Home

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]

MODEL = "stretched"
CONTEXT = 36864  # Claude Code begins with 25,000 tokens
PATIENCE_S = 240
PROMPTS: dict[str, tuple[str, ...]] = {
    "claude-code": ("-p", "hi"),
    "codex": ("exec", "--skip-git-repo-check", "hi"),
    "continue": ("-p", "hi"),
    "copilot": ("-p", "hi", "--allow-all-tools"),
    "droid": ("exec", "hi"),
    "opencode": ("run", "hi"),
    "pi": ("-p", "hi"),
    "qwen-code": ("-p", "hi"),
}


@pytest.fixture(scope="module")
def user(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Return the home with a model for agents."""
    folder = tmp_path_factory.mktemp("agents")
    made = home.run("create", MODEL, "-f", "-", stdin=stretched(folder / "model.gguf", CONTEXT))
    assert made.returncode == 0, made.stderr
    home.environ["XDG_STATE_HOME"] = str(folder / "state")
    home.environ["XDG_CONFIG_HOME"] = str(folder / "config")
    return home


def run(
    user: Home, folder: Path, bin_folder: Path, command: Sequence[str]
) -> subprocess.CompletedProcess[str]:
    path = f"{bin_folder}{os.pathsep}{user.environ['PATH']}"
    return subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        cwd=folder,
        env=user.environ | {"PATH": path},
        timeout=PATIENCE_S,
    )


@pytest.mark.parametrize("name", sorted(PROMPTS))
def test_a_launched_agent_asks_and_ends(user: Home, tmp_path: Path, name: str) -> None:
    programs = fetched("node") / "node_modules" / ".bin"
    if not (programs / TOOLS[name].program).exists():
        pytest.skip(f"npm install there: {' '.join(TOOLS[name].install[0])}")
    user.run("stop", MODEL)
    words = ("launch", name, "--model", MODEL, "--yes", "--", *PROMPTS[name])

    done = run(user, tmp_path, programs, [*PROGRAM, *words])

    assert done.returncode == 0, done.stderr
    assert MODEL in user.run("ps").stdout


def test_llm_finds_the_model_of_its_file(user: Home, tmp_path: Path) -> None:
    programs = fetched("python").parent
    words = ("launch", "llm", "--model", MODEL, "--yes", "--", "hi")

    done = run(user, tmp_path, programs, [*PROGRAM, *words])
    again = run(user, tmp_path, programs, [str(programs / "llm"), "-m", "localrun", "hi"])

    assert done.returncode == 0, done.stderr
    assert again.returncode == 0, again.stderr
    assert again.stdout.strip()
