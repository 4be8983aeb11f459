"""Workspace of use cases: settings, store, network clients and model catalog of one process.

Each is created on first use, so that ``list`` opens no connection and ``search`` no store.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.settings import load_settings
from localrun.store.index import StoreIndex

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from localrun.registry.catalog import Catalog
    from localrun.registry.http import Http
    from localrun.registry.hubs.huggingface import HuggingFace
    from localrun.registry.hubs.modelscope import ModelScope
    from localrun.registry.oci.registry import OciRegistry
    from localrun.services.drafting.chooser import DraftChooser
    from localrun.services.models import Models
    from localrun.settings import Settings
    from localrun.store.store import Store


class Workspace:
    """One process's access to the models on this machine and at their sources.

    ``takes_paths``: a path of this machine may stand for a model name.
    ``explains_paths``: errors say what is wrong with a path; clients of a server must not learn it.
    ``is_public_only``: downloads connect only to public hosts and to those that the settings name.
    """

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        home: Path | None = None,
        *,
        takes_paths: bool = True,
        explains_paths: bool = True,
        is_public_only: bool = False,
    ) -> None:
        self.settings = settings
        self.environ = environ
        self.home = home or Path.home()
        self._takes_paths = takes_paths
        self._explains_paths = explains_paths
        self._is_public_only = is_public_only

    def for_clients(self) -> Workspace:
        """Return the workspace for jobs that a server runs for its clients.

        It connects only to public hosts, unless the settings allow all private hosts.
        """
        return Workspace(
            self.settings,
            self.environ,
            self.home,
            takes_paths=self._takes_paths,
            explains_paths=self._explains_paths,
            is_public_only=self.settings.private_hosts is not None,
        )

    @cached_property
    def store(self) -> Store:
        """Return the store."""
        from localrun.store.store import Store

        return Store(self.settings.models_dir, self.settings.extra_models)

    @cached_property
    def models(self) -> Models:
        """Return the models that can be run."""
        from localrun.services.models import Models

        return Models(
            self.store,
            StoreIndex.in_folder(self.settings.index_dir, self.settings.models_dir),
            takes_paths=self._takes_paths,
            explains_paths=self._explains_paths,
        )

    @cached_property
    def http(self) -> Http:
        """Return the HTTP client of this process."""
        from localrun.registry.http import Http
        from localrun.registry.public import PublicOnly

        rule = PublicOnly.except_for(self._named_hosts()) if self._is_public_only else None
        return Http(self.environ, is_offline=self.settings.is_offline, rule=rule)

    @cached_property
    def catalog(self) -> Catalog:
        """Return the model catalog."""
        from localrun.registry.catalog import load_catalog

        return load_catalog(self.settings.catalogs)

    @cached_property
    def drafts(self) -> DraftChooser:
        """Return the choice of draft models."""
        from localrun.services.drafting.chooser import DraftChooser

        return DraftChooser(self.models.find_model, lambda: self.catalog, self.settings)

    @cached_property
    def huggingface(self) -> HuggingFace:
        """Return the client of Hugging Face, or of the hub at HF_ENDPOINT."""
        from localrun.registry.hubs.huggingface import HuggingFace

        return HuggingFace(self.http, self.environ)

    @cached_property
    def modelscope(self) -> ModelScope:
        """Return the client of ModelScope, or of the hub at MODELSCOPE_ENDPOINT."""
        from localrun.registry.hubs.modelscope import ModelScope

        return ModelScope(self.http, self.environ)

    def _named_hosts(self) -> Iterator[str]:
        """Yield the hosts that the owner of the environment allows for pulls."""
        yield from self.settings.private_hosts or ()
        yield from self.settings.mirrors
        for variable in ("HF_ENDPOINT", "MODELSCOPE_ENDPOINT"):
            address = self.environ.get(variable, "").strip()
            yield address if "://" in address else f"https://{address}"

    def registry(self, host: str, *, is_insecure: bool = False) -> OciRegistry:
        """Return the client of an OCI registry."""
        from localrun.registry.oci.registry import OciRegistry

        return OciRegistry(
            self.http, host, environ=self.environ, home=self.home, is_insecure=is_insecure
        )


def open_workspace(environ: Mapping[str, str]) -> Workspace:
    """Return the workspace for an environment.

    Raises:
        UsageError: a variable is malformed.
    """
    return Workspace(load_settings(environ), environ)
