"""What a source says it has: files, and where their bytes can be had."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.registry.http import Credential


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSource:
    """One place that a file's bytes can be had from.

    ``refresh`` returns the credential to go on with after a 401, for tokens end within
    long downloads; None if there is no better one. Any thread may call it.
    """

    url: str
    name: str  # for people: "hf.co"
    credential: Credential | None = None
    refresh: Callable[[], Credential | None] | None = field(default=None, compare=False, repr=False)
    refused_hint: str | None = None  # what to do about a 401 or a 403


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """A file of a source. A digest is a promise: what does not keep it is not stored."""

    name: str  # with "/" between folders
    size_bytes: int | None = None
    digest: str | None = None  # "sha256:<hex>"
    sources: tuple[FileSource, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A hub's repository at one revision."""

    name: str  # "hf.co/Qwen/Qwen3-0.6B-GGUF"
    revision: str | None  # the commit, None where the hub does not tell
    files: tuple[RemoteFile, ...]
    licence: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """A repository that a search found."""

    name: str  # "hf.co/owner/repo"
    downloads: int
    likes: int
    files: tuple[RemoteFile, ...] = ()
