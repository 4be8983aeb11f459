"""The objects that the routes of one server share, each created at its first use.

A server answers its first requests without most of them; `table` says which routes need which.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from localrun.server.middleware.activity import Activity

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.server.batches.own_requests import OwnRequests
    from localrun.server.batches.service import BatchService
    from localrun.server.core.bridge import Bridge
    from localrun.server.core.completions import Completions
    from localrun.server.core.deferred_pool import DeferredPool
    from localrun.server.core.embedding import Embedding
    from localrun.server.core.loaded_names import Catalogue, LoadedNames
    from localrun.server.core.media import AddressedMedia
    from localrun.server.core.metrics import Metrics
    from localrun.server.core.preload import Preload
    from localrun.server.core.remotes import Remotes
    from localrun.server.core.tokens import TokenService
    from localrun.services.creating.uploads import Uploads
    from localrun.services.workspace import Workspace
    from localrun.settings import Settings
    from localrun.supervisor.pool import RunnerPool


class Parts:
    """Objects of one server; the models are the workspace's own unless others are given.

    ``warm`` is the socket of the warm process, if there is one; ``preload`` the model that the
    server loads before it is ready.
    """

    def __init__(
        self,
        deferred_pool: DeferredPool,
        workspace: Workspace,
        metrics: Metrics,
        catalogue: Catalogue | None = None,
        *,
        warm: str | None = None,
        preload: Preload | None = None,
    ) -> None:
        self.deferred_pool = deferred_pool
        self.workspace = workspace
        self.metrics = metrics
        self.warm = warm
        self.preload = preload
        self.activity = Activity()
        self.open_own_requests: Callable[[], OwnRequests] | None = None  # set by the application
        self._catalogue = catalogue
        self._uploads: Uploads | None = None

    @property
    def settings(self) -> Settings:
        """Return the settings of the server."""
        return self.workspace.settings

    @property
    def readiness(self) -> str:
        """Return "ready", or why the server takes no requests: "leaving", "loading", "failed"."""
        if self.deferred_pool.is_closing:
            return "leaving"
        return "ready" if self.preload is None else self.preload.status

    @property
    def pool(self) -> RunnerPool:
        """Return the runner pool."""
        return self.deferred_pool.open()

    @property
    def catalogue(self) -> Catalogue:
        """Return the stored models."""
        return self.workspace.models if self._catalogue is None else self._catalogue

    @cached_property
    def bridge(self) -> Bridge:
        """Return the bridge to the pool."""
        from localrun.server.core.bridge import Bridge

        return Bridge(self.pool)

    @cached_property
    def completions(self) -> Completions:
        """Return the service that answers prompts."""
        from localrun.server.core.metered import MeteredCompletions

        return MeteredCompletions(
            self.bridge,
            self.catalogue.find_model,
            self.remotes,
            self.addressed_media,
            self.metrics,
            logs_prompts=self.settings.access.logs_prompts,
            with_draft=self.workspace.drafts.with_draft,
        )

    @cached_property
    def remotes(self) -> Remotes:
        """Return the remote models."""
        from localrun.server.core.remotes import Remotes

        return Remotes(self.settings, self.workspace.environ)

    @cached_property
    def addressed_media(self) -> AddressedMedia:
        """Return the media that prompts name by their addresses."""
        from localrun.registry.addressed import AddressedFiles
        from localrun.server.core.media import AddressedMedia

        settings = self.settings
        files = AddressedFiles(settings.fetched_hosts, is_offline=settings.is_offline)
        return AddressedMedia(files, self.catalogue.find_model)

    @cached_property
    def tokens(self) -> TokenService:
        """Return the service that tokenizes."""
        from localrun.server.core.tokens import TokenService

        return TokenService(
            self.bridge, self.catalogue.find_model, self.remotes, self.addressed_media
        )

    @cached_property
    def embedding(self) -> Embedding:
        """Return the service that embeds and ranks."""
        from localrun.server.core.embedding import Embedding

        return Embedding(self.bridge, self.catalogue.find_model, self.remotes, self.metrics)

    @cached_property
    def names(self) -> LoadedNames:
        """Return the names of the loaded models."""
        from localrun.server.core.loaded_names import LoadedNames

        return LoadedNames(self.pool, self.catalogue)

    @property
    def uploads(self) -> Uploads:
        """Return the uploads of clients."""
        from localrun.services.creating.uploads import Uploads

        if self._uploads is None:
            self._uploads = Uploads(self.workspace.store)
        return self._uploads

    @cached_property
    def batches(self) -> BatchService:
        """Return the service that executes batches; create it on the event loop."""
        from localrun.server.batches.location import batches_folder
        from localrun.server.batches.service import BatchService

        if self.open_own_requests is None:
            raise RuntimeError("the parts belong to no application")
        folder = batches_folder(self.workspace.environ)
        requests = self.open_own_requests()
        num_parallel = self.settings.loads.num_parallel
        return BatchService(folder, requests, self.activity, num_parallel=num_parallel)

    async def stop_batches(self) -> None:
        """Stop executing batches."""
        if "batches" in self.__dict__:
            await self.batches.stop()

    async def close_remotes(self) -> None:
        """Close the connections to engines elsewhere; their open answers fail."""
        if "remotes" in self.__dict__:
            await self.remotes.close()

    def close(self) -> None:
        """Release the lease on uploaded files; blocks."""
        if self._uploads is not None:
            self._uploads.close()
