"""Mirrors of a hub's files, found by digest and looked up only when a source fails."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from localrun.errors import ModelNotFoundError, NetworkError, UsageError
from localrun.names.ref import HUBS, HUGGINGFACE_HOST, ModelRef
from localrun.registry.origins import split_login
from localrun.registry.remote import FileSource

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from localrun.registry.remote import RemoteFile, Repository
    from localrun.services.workspace import Workspace


def no_mirrors() -> Sequence[FileSource]:
    """Return no mirrors."""
    return ()


def repository_of(workspace: Workspace, at_hub: ModelRef) -> Repository:
    """Return the repository of a name at a hub.

    Raises:
        ModelNotFoundError: the repository does not exist.
        NetworkError: the hub does not answer.
    """
    hub = workspace.huggingface if at_hub.host == HUGGINGFACE_HOST else workspace.modelscope
    return hub.repository(at_hub.repo, at_hub.revision)


def other_hub(host: str | None) -> str:
    """Return the other hub, which may have the same files."""
    return next(hub for hub in HUBS if hub != host)


class Mirrors:
    """Mirrors of the files of one repository; the other hub is asked once."""

    def __init__(self, workspace: Workspace, at_hub: ModelRef, other: str | None) -> None:
        self._workspace = workspace
        self._at_hub = at_hub
        self._other = other or at_hub.repo
        self._other_files: dict[str, Sequence[FileSource]] | None = None

    def finder(self, file: RemoteFile) -> Callable[[], Sequence[FileSource]]:
        """Return a function that returns the mirrors of a file."""
        if file.digest is None:
            return no_mirrors
        return lambda: [*self._of_settings(file), *self._at_other_hub().get(str(file.digest), ())]

    def _of_settings(self, file: RemoteFile) -> list[FileSource]:
        """Return the file at the mirrors in the settings, which serve what Hugging Face serves."""
        if self._at_hub.host != HUGGINGFACE_HOST:
            return []
        revision = quote(self._at_hub.revision or "main", safe="")
        path = f"{self._at_hub.repo}/resolve/{revision}/{quote(file.name)}"
        return [_mirror(mirror, path) for mirror in self._workspace.settings.mirrors]

    def _at_other_hub(self) -> dict[str, Sequence[FileSource]]:
        """Return the other hub's sources of the same repository by digest."""
        if self._other_files is None:
            namespace, _, model = self._other.partition("/")
            ref = ModelRef(host=other_hub(self._at_hub.host), namespace=namespace, model=model)
            try:
                files = repository_of(self._workspace, ref).files
            except (NetworkError, ModelNotFoundError, UsageError):  # such as a malformed token
                files = ()
            self._other_files = {
                file.digest: file.sources for file in files if file.digest is not None
            }
        return self._other_files


def _mirror(mirror: str, path: str) -> FileSource:
    """Return a file at a mirror, whose URL may hold a login."""
    url, login = split_login(mirror)
    return FileSource(url=f"{url}/{path}", name=url.partition("//")[2], credential=login)
