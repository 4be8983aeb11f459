"""Hugging Face client: the files of a repository, and search.

Calls the hub's API with our HTTP client, because importing the library takes a quarter of a
second. Downloads nothing. Environment variables:

    HF_ENDPOINT                                a mirror, or a private hub
    HF_TOKEN, HUGGING_FACE_HUB_TOKEN           a token, sent to any endpoint
    HF_HUB_DISABLE_IMPLICIT_TOKEN              use no token, as in the library
    HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE       no network
    and those that `huggingface_login` reads

The stored login belongs to huggingface.co, so it is sent to https://huggingface.co and
https://hf.co only: a mirror gets a token only from one of the two variables. No token follows a
redirect to another origin.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from localrun.errors import ModelNameError, NetworkError
from localrun.names.ref import HUGGINGFACE_HOST
from localrun.registry.http import OfflineError, http_error
from localrun.registry.hubs.endpoint import check_repo_name, clean_token, hub_endpoint
from localrun.registry.hubs.huggingface_errors import HubRequest
from localrun.registry.hubs.huggingface_login import stored_login
from localrun.registry.remote import RemoteFile, Repository, SearchResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from localrun.registry.http import Http, Response
    from localrun.registry.origins import Credential

OWN_ORIGINS = ("https://huggingface.co", "https://hf.co")
MAIN = "main"
LONGEST_NAME = 96
TRUE = {"1", "ON", "YES", "TRUE"}
OK = 200
UNREACHED = "check the network; HTTPS_PROXY names a proxy, HF_ENDPOINT a mirror"
REFUSED = {401, 403}
MAX_BYTES = 16 << 20  # of a listing: ten thousand files take 2 MB
MALFORMED = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


class HuggingFace:
    """Client of the hub at ``HF_ENDPOINT``, else huggingface.co."""

    def __init__(self, http: Http, environ: Mapping[str, str]) -> None:
        self._http = http
        self._environ = environ
        self._hub = hub_endpoint(environ, "HF_ENDPOINT", host=HUGGINGFACE_HOST, own=OWN_ORIGINS)

    def repository(self, repo: str, revision: str | None) -> Repository:
        """Return the files of ``owner/repo`` at a revision; None is the main branch.

        Raises:
            ModelNameError: ``repo`` is not a repository name.
            ModelNotFoundError: the repository or revision does not exist, or is private.
            HttpError: the hub refuses, or the repository is gated and access is not granted.
            NetworkError: the hub does not answer, or not like a hub.
            OfflineError: the network is disabled.
            UsageError: the token is malformed.
        """
        _check_name(repo)
        self._check_online()
        token = self._token()
        credential = self._credential(token)
        request = HubRequest(
            hub=self._hub, repo=repo, revision=revision, has_token=token is not None
        )
        info = self._info(request, credential)
        try:
            repository = self._repository(request, info, credential)
        except MALFORMED as error:
            raise self._hub.unexpected_response() from error
        if info.get("gated"):
            self._check_gate(request, repository.files)
        return repository

    def search(self, text: str, limit: int) -> list[SearchResult]:
        """Return GGUF repositories whose names match the text, most downloads first.

        Their files have names only.

        Raises:
            HttpError: the hub refuses.
            NetworkError: the hub does not answer, or not like a hub.
            OfflineError: the network is disabled.
            UsageError: the token is malformed.
        """
        self._check_online()
        query = [("search", text), ("filter", "gguf"), ("sort", "downloads"), ("limit", str(limit))]
        query += [("expand", part) for part in ("downloads", "likes", "siblings")]
        url = f"{self._hub.url}/api/models?{urlencode(query)}"
        with self._opened(url, self._credential(self._token())) as response:
            if response.status != OK:
                raise http_error(response, "a search")
            body = response.body(MAX_BYTES)
        try:
            return [_search_result(item) for item in json.loads(body)][:limit]
        except MALFORMED as error:
            raise self._hub.unexpected_response() from error

    def _check_online(self) -> None:
        self._http.check_online(self._hub.url)
        for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
            if self._is_set(variable):
                raise OfflineError(
                    f"cannot connect to {self._hub.host}: {variable} is set",
                    hint=f"{variable}=0 localrun ...   enables the network for one command",
                )

    def _is_set(self, variable: str) -> bool:
        return self._environ.get(variable, "").upper() in TRUE

    def _token(self) -> str | None:
        """Return the token for the endpoint, or None."""
        if self._is_set("HF_HUB_DISABLE_IMPLICIT_TOKEN"):
            return None
        for variable in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
            if token := clean_token(self._environ.get(variable), variable):
                return token
        return stored_login(self._environ) if self._hub.is_own else None

    def _credential(self, token: str | None) -> Credential | None:
        return self._hub.credential({"Authorization": f"Bearer {token}"}) if token else None

    def _opened(self, url: str, credential: Credential | None) -> Response:
        try:
            return self._http.open(url, credential=credential)
        except NetworkError as error:
            raise NetworkError(error.message, hint=UNREACHED) from error

    def _info(self, request: HubRequest, credential: Credential | None) -> dict[str, Any]:
        """Return the hub's description of a repository, with sizes and digests of its files."""
        at = f"/revision/{quote(request.revision, safe='')}" if request.revision is not None else ""
        url = f"{self._hub.url}/api/models/{request.repo}{at}?blobs=true"
        try:
            with self._opened(url, credential) as response:
                if response.status != OK:
                    raise request.refused(response)
                info = json.loads(response.body(MAX_BYTES))
        except (ValueError, RecursionError) as error:
            raise self._hub.unexpected_response() from error
        if not isinstance(info, dict):
            raise self._hub.unexpected_response()
        return info

    def _repository(
        self, request: HubRequest, info: Mapping[str, Any], credential: Credential | None
    ) -> Repository:
        sha = None if info.get("sha") is None else str(info["sha"])
        root = f"/{request.repo}/resolve/{quote(sha or request.revision or MAIN, safe='')}"
        return Repository(
            name=f"{HUGGINGFACE_HOST}/{request.repo}",
            revision=sha,
            files=tuple(self._file(root, file, credential) for file in info.get("siblings") or ()),
            licence=_licence(info),
        )

    def _file(
        self, root: str, file: Mapping[str, Any], credential: Credential | None
    ) -> RemoteFile:
        name, size = str(file["rfilename"]), file.get("size")
        return self._hub.file(
            name,
            f"{root}/{quote(name)}",
            size=None if size is None else int(size),
            sha256=str(file["lfs"]["sha256"]) if file.get("lfs") else None,
            credential=credential,
        )

    def _check_gate(self, request: HubRequest, files: Sequence[RemoteFile]) -> None:
        """Check access to a gated repository before the download: everybody may list its files."""
        models = [file for file in files if file.name.endswith(".gguf")] or files
        for source in models[0].sources if models else ():
            with self._http.open(
                source.url, method="HEAD", credential=source.credential, follow=False
            ) as response:
                if response.status in REFUSED:
                    raise request.gated(response.status)


def _check_name(repo: str) -> None:
    """Check a repository name by the hub's own rules."""
    check_repo_name(repo)
    if "--" in repo or ".." in repo or repo.endswith(".git") or len(repo) > LONGEST_NAME:
        raise ModelNameError(f"not a repository name: {repo[:200]!r}")


def _licence(info: Mapping[str, Any]) -> str | None:
    """Return the licence of the model card, or else of the tags."""
    card = info.get("cardData") or {}
    licence = card.get("license")
    if licence == "other":
        licence = card.get("license_name") or licence
    if isinstance(licence, str) and licence:
        return licence
    tags = (tag for tag in info.get("tags") or () if tag.startswith("license:"))
    return next((tag.removeprefix("license:") for tag in tags), None)


def _search_result(item: Mapping[str, Any]) -> SearchResult:
    files = (RemoteFile(name=str(file["rfilename"])) for file in item.get("siblings") or ())
    return SearchResult(
        name=f"{HUGGINGFACE_HOST}/{item['id']}",
        downloads=int(item.get("downloads") or 0),
        likes=int(item.get("likes") or 0),
        files=tuple(files),
    )
