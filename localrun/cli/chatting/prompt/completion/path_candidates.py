"""FoundCompletions of paths: files and folders whose name begins with what is typed.

Folders come first and end in a slash. Hidden names are offered if a dot is typed. At most
`MAX_SCANNED` names of a folder are looked at, so a huge folder costs little; a folder that cannot
be read has no completions. Names with control characters are left out. May block on a slow disk.
"""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING

from localrun.cli.chatting.prompt.sources import Candidate

if TYPE_CHECKING:
    from pathlib import Path

MAX_SCANNED, MAX_CANDIDATES = 5000, 200


def path_candidates(typed: str, folder: Path) -> list[Candidate]:
    """Return the paths that begin with ``typed``, in the form in which they are typed.

    A relative path is one below ``folder``; ``~`` is the home folder.
    """
    parent, _, beginning = typed.rpartition("/")
    if typed.startswith("/"):
        parent = parent or "/"
    if typed == "~":
        return [Candidate("~/", "home folder")]
    where = os.path.join(folder, os.path.expanduser(parent))  # noqa: PTH111, PTH118 - bytes stay
    names = sorted(_names(where, beginning))
    prefix = typed[: len(typed) - len(beginning)]
    return [
        Candidate(f"{prefix}{name}{'' if is_file else '/'}", "" if is_file else "folder")
        for is_file, _, name in names[:MAX_CANDIDATES]
    ]


def _names(folder: str, beginning: str) -> list[tuple[bool, str, str]]:
    """Return matching names of a folder as (is a file, name in small letters, name)."""
    wanted, shows_hidden = beginning.lower(), beginning.startswith(".")
    try:
        with os.scandir(folder) as entries:
            return [
                (not entry.is_dir(), entry.name.lower(), entry.name)
                for entry in itertools.islice(entries, MAX_SCANNED)
                if entry.name.lower().startswith(wanted)
                and (shows_hidden or not entry.name.startswith("."))
                and entry.name.isprintable()
            ]
    except OSError:
        return []
