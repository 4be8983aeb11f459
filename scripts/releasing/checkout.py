"""The commit that is released: clean, with a section of its version in the changelog."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import environment

VERSION = re.compile(r'^__version__ = "([^"]+)"', re.MULTILINE)
CHANGELOG = Path("localrun", "docs", "changelog.md")
MAX_NAMED = 5


@dataclass(frozen=True, slots=True)
class Checkout:
    """A commit, checked out."""

    root: Path
    version: str
    revision: str
    time_s: int


def read_checkout(root: Path = environment.ROOT) -> Checkout:
    """Return the checkout, whatever its state.

    Raises:
        SetupError: it is no checkout of git.
    """
    try:
        revision, time = _git(root, "log", "-1", "--format=%H %ct").split()
    except (OSError, subprocess.CalledProcessError, ValueError) as error:
        raise environment.SetupError(f"{root} is no checkout of git") from error
    return Checkout(root, package_version(root), revision, int(time))


def require_releasable(checkout: Checkout) -> None:
    """Return if a release of the checkout is one of its commit.

    Raises:
        SetupError: files differ from the commit, or the changelog has nothing of the version.
    """
    changed = [line[3:] for line in _git(checkout.root, "status", "--porcelain").splitlines()]
    if changed:
        names = ", ".join(changed[:MAX_NAMED]) + (", ..." if len(changed) > MAX_NAMED else "")
        raise environment.SetupError(
            f"files differ from the commit: {names}\nhint: git commit, or git stash -u"
        )
    changelog = checkout.root / CHANGELOG
    text = changelog.read_text() if changelog.is_file() else ""
    if not has_section(text, checkout.version):
        raise environment.SetupError(
            f"{CHANGELOG} has no section of version {checkout.version}\n"
            f"hint: ## {checkout.version} - YYYY-MM-DD   and below it what changes for users"
        )


def has_section(changelog: str, version: str) -> bool:
    """Return whether the changelog has a section of the version, with something in it."""
    _, heading, rest = changelog.partition("\n## ") if changelog.startswith("#") else ("", "", "")
    sections = (heading + rest).split("\n## ")[1:]
    for section in sections:
        title, _, body = section.partition("\n")
        if re.match(rf"\[?{re.escape(version)}\]?(\s|$)", title) and body.strip():
            return True
    return False


def package_version(root: Path = environment.ROOT) -> str:
    """Return the version of the package, without importing it."""
    match = VERSION.search((root / "localrun" / "__init__.py").read_text())
    if match is None:
        raise environment.SetupError("localrun/__init__.py has no __version__")
    return match[1]


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", root, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout
