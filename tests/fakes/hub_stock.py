"""What a fake hub has: repositories with their history, plain files, and who may read them.

Knows nothing of HTTP. A repository is a list of snapshots, as commits are: to
replace a file adds one, and the old commit keeps the old bytes.
"""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LFS_SUFFIXES = (".gguf", ".safetensors")
LFS_ABOVE_BYTES = 1000
EPOCH_S = 1_767_225_600  # 2026-01-01, when everything here was written
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {}\n"


class Content:
    """The bytes of one file, in memory or on disk; hashed when first asked."""

    def __init__(self, data: bytes | Path) -> None:
        self.data = data
        self.size = data.stat().st_size if isinstance(data, Path) else len(data)

    @cached_property
    def sha256(self) -> str:
        if isinstance(self.data, bytes):
            return hashlib.sha256(self.data).hexdigest()
        with self.data.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @property
    def pointer(self) -> bytes:
        """Return what git stores for a file of LFS."""
        return POINTER.format(self.sha256, self.size).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file under its path in a repository, or under its name as a plain file."""

    path: str
    content: Content
    etag: str | None = None  # of a plain file: "" for none, None for one made of the bytes
    modified_s: int = EPOCH_S

    @property
    def is_lfs(self) -> bool:
        return self.path.endswith(LFS_SUFFIXES) or self.content.size > LFS_ABOVE_BYTES

    @property
    def git_sha1(self) -> str:
        """Return the object id that git has for it: of the pointer when LFS has the bytes."""
        stored = self.content.pointer if self.is_lfs else self._bytes()
        return hashlib.sha1(b"blob %d\0" % len(stored) + stored).hexdigest()  # noqa: S324 git's

    def _bytes(self) -> bytes:
        data = self.content.data
        return data.read_bytes() if isinstance(data, Path) else data


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One commit: all files of a repository at one time."""

    commit: str
    files: Mapping[str, StoredFile]


@dataclass(slots=True, kw_only=True)
class Repo:
    """A repository; the last snapshot is what its branch shows."""

    repo_id: str
    is_gated: bool
    is_private: bool
    num_downloads: int
    num_likes: int
    snapshots: list[Snapshot] = field(default_factory=list)

    @property
    def head(self) -> Snapshot:
        return self.snapshots[-1]

    def at(self, revision: str, branch: str) -> Snapshot | None:
        """Return the snapshot of a commit, or of the hub's own name for the branch."""
        if revision == branch:
            return self.head
        return next((one for one in self.snapshots if one.commit == revision), None)

    def commit(self, files: Mapping[str, bytes | Path]) -> None:
        """Add a snapshot with these files new or changed."""
        seed = f"{self.repo_id} {len(self.snapshots)}".encode()
        old = self.head.files if self.snapshots else {}
        modified_s = EPOCH_S + 60 * len(self.snapshots)
        new = {
            path: StoredFile(path=path, content=Content(data), modified_s=modified_s)
            for path, data in files.items()
        }
        commit = hashlib.sha1(seed).hexdigest()  # noqa: S324 looks like one of git's
        self.snapshots.append(Snapshot(commit=commit, files={**old, **new}))


class Found(NamedTuple):
    """A repository at a revision."""

    repo: Repo
    snapshot: Snapshot


class FoundFile(NamedTuple):
    """A file of it."""

    repo: Repo
    snapshot: Snapshot
    file: StoredFile


class Stock:
    """All that the hub has; the threads of the server only read it, but for the signatures."""

    def __init__(self, *, token: str = "hf_let_me_in") -> None:  # noqa: S107 opens a fake only
        self.token = token
        self.repos: dict[str, Repo] = {}
        self.plain_files: dict[str, StoredFile] = {}
        self.granted: set[str] = set()
        self.cdn_url = ""  # "" for a hub without CDN
        self.cdn_ttl_s = 3600
        self._signed: dict[str, StoredFile] = {}
        self._num_signed = count(1)
        self._lock = threading.Lock()

    def add(
        self,
        repo_id: str,
        files: Mapping[str, bytes | Path],
        *,
        gated: bool = False,
        private: bool = False,
        downloads: int = 0,
        likes: int = 0,
    ) -> str:
        """Add a repository to both hubs and return its commit."""
        repo = Repo(
            repo_id=repo_id,
            is_gated=gated,
            is_private=private,
            num_downloads=downloads,
            num_likes=likes,
        )
        repo.commit(files)
        self.repos[repo_id] = repo
        return repo.head.commit

    def replace(self, repo_id: str, path: str, data: bytes | Path) -> str:
        """Change one file of a repository and return the new commit."""
        self.repos[repo_id].commit({path: data})
        return self.repos[repo_id].head.commit

    def add_file(self, name: str, data: bytes | Path, *, etag: str | None = None) -> str:
        """Serve a plain file, in the place of one of this name, and return the path of its URL.

        ``etag`` is sent as it is, with its quotes; None makes one of the bytes, "" sends none.
        """
        old = self.plain_files.get(name)
        modified_s = old.modified_s + 60 if old else EPOCH_S
        self.plain_files[name] = StoredFile(
            path=name, content=Content(data), etag=etag, modified_s=modified_s
        )
        return f"/files/{name}"

    def add_versionless_file(self, name: str, data: bytes) -> str:
        """Serve a plain file as `add_file`, but tell nothing that tells its versions apart."""
        path = self.add_file(name, data, etag="")
        self.plain_files[name] = replace(self.plain_files[name], modified_s=0)
        return path

    def grant(self, repo_id: str) -> None:
        """Let the token into a gated repository."""
        self.granted.add(repo_id)

    def matching(self, text: str, token: str) -> list[Repo]:
        """Return the repositories with this text in their names that the token may see."""
        is_known = token == self.token
        hits = [
            repo
            for repo in self.repos.values()
            if text.lower() in repo.repo_id.lower() and (is_known or not repo.is_private)
        ]
        return sorted(hits, key=lambda repo: -repo.num_downloads)

    def sign(self, file: StoredFile, name: str) -> str:
        """Return a URL of the CDN for these bytes, good for a while."""
        expires = int(time.time()) + self.cdn_ttl_s
        with self._lock:
            signature = hashlib.sha256(b"%d" % next(self._num_signed)).hexdigest()[:16]
            self._signed[signature] = replace(file, path=name)
        return f"{self.cdn_url}/cdn/{file.content.sha256}?expires={expires}&sig={signature}"

    def signed(self, url: str) -> StoredFile | None:
        """Return what a signed URL is good for; None when it has expired or was never signed."""
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        file = self._signed.get(query.get("sig", [""])[0])
        is_late = float(query.get("expires", ["0"])[0]) < time.time()
        if file is None or is_late or not parts.path.endswith(file.content.sha256):
            return None
        return file

    def revoke(self, url: str) -> None:
        """Let a signed URL expire now."""
        self._signed.pop(parse_qs(urlsplit(url).query).get("sig", [""])[0], None)


def entries_below(
    files: Iterable[StoredFile], folder: str, *, is_deep: bool
) -> list[tuple[str, StoredFile | None]]:
    """Return the paths below a folder with their files, None for a folder."""
    prefix = f"{folder}/" if folder else ""
    found: dict[str, StoredFile | None] = {}
    for file in files:
        if not file.path.startswith(prefix):
            continue
        parts = file.path.removeprefix(prefix).split("/")
        for depth in range(1, len(parts) if is_deep else min(len(parts), 2)):
            found[prefix + "/".join(parts[:depth])] = None
        if is_deep or len(parts) == 1:
            found[file.path] = file
    return sorted(found.items())
