"""Remote repositories: their files, and the sources (URLs) of each file.

Values only; the hub and registry clients make them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.registry.origins import Credential


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSource:
    """URL from which the bytes of a file can be downloaded.

    ``refresh`` returns a new credential after a 401, because tokens expire during long downloads,
    or None if there is no better credential. Any thread may call it.
    """

    url: str
    name: str  # in messages: "hf.co"
    credential: Credential | None = None
    refresh: Callable[[], Credential | None] | None = field(default=None, compare=False, repr=False)
    refused_hint: str | None = None  # the hint for a 401 or a 403


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """File of a repository. If its digest is given, other bytes are never stored."""

    name: str  # with "/" between folders
    size_bytes: int | None = None
    digest: str | None = None  # "sha256:<hex>"
    sources: tuple[FileSource, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """Repository of a hub at one revision."""

    name: str  # "hf.co/Qwen/Qwen3-0.6B-GGUF"
    revision: str | None  # the commit, or None if the hub has none
    files: tuple[RemoteFile, ...]
    licence: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """Repository that matches a search."""

    name: str  # "hf.co/owner/repo"
    downloads: int
    likes: int
    files: tuple[RemoteFile, ...] = ()
