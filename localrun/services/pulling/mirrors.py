"""Other places that have a file of a hub: by its digest, and asked only when they are needed."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from localrun.errors import ModelNotFoundError, NetworkError, UsageError
from localrun.names.ref import HUBS, HUGGINGFACE_HOST, ModelRef
from localrun.registry.http import split_login
from localrun.registry.remote import FileSource

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from localrun.registry.remote import RemoteFile, Repository
    from localrun.services.workspace import Workspace


def no_mirrors() -> Sequence[FileSource]:
    """Return that there are none."""
    return ()


def repository_of(workspace: Workspace, at_hub: ModelRef) -> Repository:
    """Ask a hub for the repository that a name of it means.

    Raises:
        ModelNotFoundError: there is none.
        NetworkError: the hub does not answer.
    """
    hub = workspace.huggingface if at_hub.host == HUGGINGFACE_HOST else workspace.modelscope
    return hub.repository(at_hub.repo, at_hub.revision)


def other_hub(host: str | None) -> str:
    """Return the hub that a hub's files may be at, too."""
    return next(hub for hub in HUBS if hub != host)


class Mirrors:
    """Where the files of one repository may be besides; the other hub is asked once."""

    def __init__(self, workspace: Workspace, at_hub: ModelRef, other: str | None) -> None:
        self._workspace = workspace
        self._at_hub = at_hub
        self._other = other or at_hub.repo
        self._found: dict[str, Sequence[FileSource]] | None = None

    def finder(self, file: RemoteFile) -> Callable[[], Sequence[FileSource]]:
        """Return a function that finds a file elsewhere by its digest."""
        if file.digest is None:
            return no_mirrors
        return lambda: [*self._of_settings(file), *self._at_other_hub().get(str(file.digest), ())]

    def _of_settings(self, file: RemoteFile) -> list[FileSource]:
        """Return the file's address at endpoints that serve the same as Hugging Face."""
        if self._at_hub.host != HUGGINGFACE_HOST:
            return []
        revision = quote(self._at_hub.revision or "main", safe="")
        path = f"{self._at_hub.repo}/resolve/{revision}/{quote(file.name)}"
        return [_mirror(mirror, path) for mirror in self._workspace.settings.mirrors]

    def _at_other_hub(self) -> dict[str, Sequence[FileSource]]:
        """Return the other hub's files of the same repository by digest."""
        if self._found is None:
            namespace, _, model = self._other.partition("/")
            ref = ModelRef(host=other_hub(self._at_hub.host), namespace=namespace, model=model)
            try:
                files = repository_of(self._workspace, ref).files
            except (NetworkError, ModelNotFoundError, UsageError):  # as with a token that is none
                files = ()
            self._found = {file.digest: file.sources for file in files if file.digest is not None}
        return self._found


def _mirror(mirror: str, path: str) -> FileSource:
    """Return a file at a mirror, whose address may have a login."""
    url, login = split_login(mirror)
    return FileSource(url=f"{url}/{path}", name=url.partition("//")[2], credential=login)
