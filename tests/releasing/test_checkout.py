"""A release is one of a clean commit whose version the changelog describes."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import environment
import pytest
from releasing.checkout import (
    has_section,
    package_version,
    read_checkout,
    require_releasable,
)

import localrun

if TYPE_CHECKING:
    from pathlib import Path

IDENTITY = ("-c", "user.name=test", "-c", "user.email=test@example.org")
CHANGELOG = "# Changelog\n\n## 1.2.3 - 2026-01-01\n\n- Answer twice as fast.\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "localrun" / "docs").mkdir(parents=True)
    (tmp_path / "localrun" / "__init__.py").write_text('__version__ = "1.2.3"\n')
    (tmp_path / "localrun" / "docs" / "changelog.md").write_text(CHANGELOG)
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    commit(tmp_path)
    return tmp_path


def commit(root: Path) -> None:
    subprocess.run(["git", "-C", root, "add", "-A"], check=True)
    command = ["git", "-C", str(root), *IDENTITY, "commit", "--quiet", "-m", "x"]
    subprocess.run(command, check=True)


def test_a_clean_commit_with_a_changelog_is_releasable(checkout: Path) -> None:
    found = read_checkout(checkout)

    require_releasable(found)
    assert found.version == "1.2.3"
    assert len(found.revision) == 40
    assert found.time_s > 0


@pytest.mark.parametrize("name", ["localrun/__init__.py", "localrun/new.py"])
def test_files_that_differ_from_the_commit_are_named(checkout: Path, name: str) -> None:
    (checkout / name).write_text('__version__ = "1.2.3" # edited\n')

    with pytest.raises(environment.SetupError, match=name):
        require_releasable(read_checkout(checkout))


def test_a_version_that_the_changelog_lacks_is_named(checkout: Path) -> None:
    (checkout / "localrun" / "__init__.py").write_text('__version__ = "1.2.4"\n')
    commit(checkout)

    with pytest.raises(environment.SetupError, match=r"no section of version 1\.2\.4"):
        require_releasable(read_checkout(checkout))


def test_without_a_commit_there_is_no_release(tmp_path: Path) -> None:
    with pytest.raises(environment.SetupError, match="no checkout"):
        read_checkout(tmp_path)


@pytest.mark.parametrize(
    ("changelog", "has"),
    [
        (CHANGELOG, True),
        ("# Changelog\n\n## Unreleased\n\n- New.\n\n## [1.2.3] (2026)\n\n- Old.\n", True),
        ("# Changelog\n\n## 1.2.3\n\n## 1.2.2\n\n- Old.\n", False),
        ("# Changelog\n\n## 1.2.30\n\n- Other.\n", False),
        ("", False),
    ],
)
def test_a_section_has_the_version_and_says_something(changelog: str, *, has: bool) -> None:
    assert has_section(changelog, "1.2.3") is has


def test_the_version_is_the_package_s() -> None:
    assert package_version() == localrun.__version__
