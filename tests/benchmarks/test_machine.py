"""The commit of a checkout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.benchmarks.machine import source_commit

if TYPE_CHECKING:
    from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("head", "branch", "commit"),
    [
        ("ref: refs/heads/main\n", COMMIT, COMMIT),
        (f"{COMMIT}\n", None, COMMIT),
        ("ref: refs/heads/main\n", None, None),
        ("ref: refs/heads/main\n", "anything", None),
    ],
)
def test_the_commit_is_that_of_the_branch(
    tmp_path: Path, head: str, branch: str | None, commit: str | None
) -> None:
    heads = tmp_path / ".git" / "refs" / "heads"
    heads.mkdir(parents=True)
    (tmp_path / ".git" / "HEAD").write_text(head)
    if branch is not None:
        (heads / "main").write_text(branch)

    assert source_commit(tmp_path) == commit


def test_an_installed_program_has_no_commit(tmp_path: Path) -> None:
    assert source_commit(tmp_path) is None
