"""ModelScope client: the files of a repository, and search. The only user of modelscope_hub.

Lists with ``HubApi``; downloads nothing. Environment variables:

    MODELSCOPE_ENDPOINT       a mirror, or a private hub
    MODELSCOPE_API_TOKEN      a token, sent to any endpoint

The login of ``modelscope login`` is not read, because it is a pickle. The hub reports no commit,
so a repository has none; it reports the sha256 of each file, but no licence.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from localrun.errors import LocalrunError, ModelNotFoundError, NetworkError
from localrun.names.ref import MODELSCOPE_HOST
from localrun.registry.http import HttpError, http_error
from localrun.registry.hubs.endpoint import HubEndpoint, check_repo_name, clean_token, hub_endpoint
from localrun.registry.remote import Repository, SearchResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelscope_hub import HubApi
    from modelscope_hub.errors import APIError
    from modelscope_hub.types import FileInfo

    from localrun.registry.http import Http
    from localrun.registry.origins import Credential
    from localrun.registry.remote import RemoteFile

OWN_ORIGINS = ("https://modelscope.cn", "https://www.modelscope.cn")
TOKEN = "MODELSCOPE_API_TOKEN"  # noqa: S105 - a variable's name
MASTER = "master"
PAGE_SIZE, MAX_PAGES = 50, 4
MAX_BYTES = 16 << 20  # of a page of a search
MALFORMED = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
OK = 200
NO_SESSION = "0" * 32
UNAUTHORIZED, FORBIDDEN, TOO_MANY = 401, 403, 429
SETTINGS = {  # as the library reads them at its import
    "TQDM_DISABLE": "1",
    "MODELSCOPE_LOG_LEVEL": "ERROR",
    "MODELSCOPE_API_MAX_RETRIES": "1",
    "MODELSCOPE_API_TIMEOUT": "30",
    "MODELSCOPE_REPO_TREE_PAGE_MAX_ATTEMPTS": "2",
    "MODELSCOPE_REPO_TREE_PAGE_RETRY_MAX_DELAY_SECONDS": "2",
}


class ModelScope:
    """Client of the hub at ``MODELSCOPE_ENDPOINT``, else modelscope.cn."""

    def __init__(self, http: Http, environ: Mapping[str, str]) -> None:
        self._http = http
        self._environ = environ
        self._hub = hub_endpoint(
            environ, "MODELSCOPE_ENDPOINT", host=MODELSCOPE_HOST, own=OWN_ORIGINS
        )

    def repository(self, repo: str, revision: str | None) -> Repository:
        """Return the files of ``owner/repo`` at a revision; None is the master branch.

        Raises:
            ModelNameError: ``repo`` is not a repository name.
            ModelNotFoundError: the repository or revision does not exist, or is private.
            HttpError: the hub refuses.
            NetworkError: the hub does not answer, or not like a hub.
            OfflineError: the network is disabled.
            UsageError: the token is malformed.
        """
        check_repo_name(repo)
        self._http.check_online(self._hub.url)
        token = clean_token(self._environ.get(TOKEN), TOKEN)
        request = _ModelScopeRequest(self._hub, repo, revision, has_token=token is not None)
        entries = self._listed(request, token)
        credential = self._credential(token)
        files = tuple(
            self._file(request, entry, credential) for entry in entries if not entry.is_dir
        )
        return Repository(name=f"{MODELSCOPE_HOST}/{repo}", revision=None, files=files)

    def search(self, text: str, limit: int) -> list[SearchResult]:
        """Return repositories with GGUF in name or tags, most downloads first, without files.

        Reads the first 200 matches of the text, because the hub documents no filter.

        Raises:
            HttpError: the hub refuses.
            NetworkError: the hub does not answer, or not like a hub.
            OfflineError: the network is disabled.
            UsageError: the token is malformed.
        """
        results: list[SearchResult] = []
        for page in range(1, MAX_PAGES + 1):
            models = self._page(text, page)
            results += (model for model in models if model is not None)
            if len(results) >= limit or len(models) < PAGE_SIZE:
                break
        return results[:limit]

    def _page(self, text: str, page: int) -> list[SearchResult | None]:
        """Return a page of the OpenAPI search, with None for each repository without GGUF.

        The library's client treats any response as an empty result, so it is not used.
        """
        query = {"search": text, "sort": "downloads", "page_number": page, "page_size": PAGE_SIZE}
        url = f"{self._hub.url}/openapi/v1/models?{urlencode(query)}"
        token = clean_token(self._environ.get(TOKEN), TOKEN)
        with self._http.open(url, credential=self._credential(token)) as response:
            if response.status != OK:
                raise http_error(response, "a search")
            body = response.body(MAX_BYTES)
        try:
            models = json.loads(body)["data"]["models"]
            return [_search_result(model) for model in models if "/" in model["id"]]
        except MALFORMED as error:
            raise self._hub.unexpected_response() from error

    def _listed(self, request: _ModelScopeRequest, token: str | None) -> list[FileInfo]:
        api = _api(self._hub, token)
        try:
            return api.list_repo_files(request.repo, "model", revision=request.revision)
        except _failures() as error:
            raise request.explain(error) from error

    def _credential(self, token: str | None) -> Credential | None:
        """Return the token in the two headers that the client sends: not all routes take both."""
        if token is None:
            return None
        headers = {"Authorization": f"Bearer {token}", "Cookie": f"m_session_id={token}"}
        return self._hub.credential(headers)

    def _file(
        self, request: _ModelScopeRequest, file: FileInfo, credential: Credential | None
    ) -> RemoteFile:
        """Return a file at the route that the library's client uses."""
        query = {"Revision": request.revision or MASTER, "FilePath": file.path}
        return self._hub.file(
            file.path,
            f"/api/v1/models/{request.repo}/repo?{urlencode(query, quote_via=quote, safe='')}",
            size=file.size,
            sha256=file.sha256,
            credential=credential,
        )


@dataclass(frozen=True, slots=True)
class _ModelScopeRequest:
    """Request to the hub for one repository, and the meaning of its failures."""

    hub: HubEndpoint
    repo: str
    revision: str | None
    has_token: bool

    def explain(self, error: Exception) -> LocalrunError:
        from modelscope_hub import errors

        if isinstance(error, errors.NotExistError):
            return self._not_there()
        if isinstance(error, errors.APIError) and error.status_code is not None:
            return self._refused(error, error.status_code)
        is_silent = isinstance(error, (errors.HubError, OSError))
        if is_silent and not isinstance(error, ValueError):
            return NetworkError(
                f"{self.hub.host} does not answer: {_innermost(error)}",
                hint="check the network; HTTPS_PROXY names a proxy, MODELSCOPE_ENDPOINT a mirror",
            )
        return self.hub.unexpected_response()

    def _not_there(self) -> ModelNotFoundError:
        at = f" with revision {self.revision!r}" if self.revision else ""
        return ModelNotFoundError(
            f"{self.hub.host} has no repository {self.repo}{at}, or a private one",
            hint="check the name" + ("" if self.has_token else f"; if it is private, set {TOKEN}"),
        )

    def _refused(self, error: APIError, status: int) -> HttpError:
        hints = {
            UNAUTHORIZED: "https://modelscope.cn/my/myaccesstoken shows the tokens",
            FORBIDDEN: f"ask at https://modelscope.cn/models/{self.repo}, then set {TOKEN}",
            TOO_MANY: "wait some minutes",
        }
        refused = HttpError(
            f"{self.hub.host} answers {status} for {self.repo}",
            status=status,
            hint=hints.get(status),
        )
        refused.retry_after_s = getattr(error, "retry_after", None)
        return refused


def _has_gguf(model: Mapping[str, Any]) -> bool:
    return "gguf" in f"{model['id']} {model.get('tags')} {model.get('libraries')}".lower()


def _search_result(model: Mapping[str, Any]) -> SearchResult | None:
    if not _has_gguf(model):
        return None
    return SearchResult(
        name=f"{MODELSCOPE_HOST}/{model['id']}",
        downloads=int(model.get("downloads") or 0),
        likes=int(model.get("likes") or 0),
    )


def _api(hub: HubEndpoint, token: str | None) -> HubApi:
    """Import the library, which reads the environment at import time, and return its client."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    from modelscope_hub import HubApi
    from modelscope_hub.config import HubConfig

    class Anonymous(HubConfig):
        """Configuration without the id by which the hub could recognize this machine."""

        def get_session_id(self) -> str:
            return NO_SESSION

    return HubApi(Anonymous(endpoint=hub.url, token=token or ""))


def _failures() -> tuple[type[Exception], ...]:
    """Return the exceptions of the library, including those for malformed responses."""
    from modelscope_hub.errors import HubError

    return (HubError, OSError, *MALFORMED)


def _innermost(error: BaseException) -> str:
    """Return the text of the first cause, which names the problem."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return str(error) or type(error).__name__
