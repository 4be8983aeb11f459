"""Every example that users read does what it says."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.docs.blocks import PAGES, PROMPT, SAMPLES, Block, blocks, sample_commands

if TYPE_CHECKING:
    from pathlib import Path

    from tests.docs.conftest import Desk

SHELL, CONSOLE, PYTHON, RECIPE = "sh", "console", "python", "modelfile"
RUNNABLE = (SHELL, CONSOLE, PYTHON, RECIPE)
EXAMPLES = [
    page
    for page in PAGES
    if any(block.language in RUNNABLE and not block.reason for block in blocks(page))
]

pytestmark = pytest.mark.skipif(
    not shutil.which("bash") or not shutil.which("curl"), reason="examples need bash and curl"
)


@pytest.mark.parametrize("page", EXAMPLES, ids=lambda page: page.name)
def test_the_examples_of_a_page_work_from_its_top_to_its_end(page: Path, desk: Desk) -> None:
    for block in blocks(page):
        if not block.reason:
            _try(block, desk)


def test_the_samples_are_created_and_run_as_their_comments_say(desk: Desk) -> None:
    desk.type("git init -q . && git add notes.txt")  # `git diff` of a reviewer
    for sample in SAMPLES:
        done = desk.type(f"localrun create {sample.stem} -f modelfiles/{sample.name}")
        assert done.returncode == 0, done.stderr
        for command in sample_commands(sample):
            desk.folder.joinpath("notes.txt").write_text(sample.name)
            done = desk.type(command)
            assert done.returncode == 0, done.stderr


def _try(block: Block, desk: Desk) -> None:
    if block.language == SHELL:
        done = desk.type(block.text)
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    elif block.language == CONSOLE:
        for command, output in _session(block):
            done = desk.type(command)
            assert done.stdout + done.stderr == desk.local(output), f"{block}\n{done.stderr}"
    elif block.language == PYTHON:
        done = desk.python(block.text)
        assert done.returncode == 0, f"{block}\n{done.stderr}"
    elif block.language == RECIPE:
        (desk.folder / "Checked").write_text(block.text)
        done = desk.type("localrun lint Checked")
        assert done.returncode == 0, f"{block}\n{done.stdout}"


def _session(block: Block) -> list[tuple[str, str]]:
    """Return the commands of a block with their output."""
    parts = f"\n{block.text}".split(f"\n{PROMPT}")[1:]
    texts = [part.rstrip("\n") for part in parts]
    pairs = [text.partition("\n") for text in texts]
    return [(command, f"{output}\n" if output else "") for command, _, output in pairs]
