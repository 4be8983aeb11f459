"""Hugging Face: what a repository has, and where; search.

Asks the hub's API by our own HTTP, for the library takes a quarter of a second to be
imported; downloads nothing itself. Read of the environment:

    HF_ENDPOINT                                a mirror, or a hub of one's own
    HF_TOKEN, HUGGING_FACE_HUB_TOKEN           a token, sent to the endpoint, whichever it is
    HF_HUB_DISABLE_IMPLICIT_TOKEN              no token at all, as the library has it
    HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE       no network
    and what `huggingface_login` reads

The stored login was given to huggingface.co, so it goes to https://huggingface.co and
https://hf.co only: a mirror gets a token only if one of the two variables holds it. No
token follows a redirect to another origin.
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

    from localrun.registry.http import Credential, Http, Response

OWN_ORIGINS = ("https://huggingface.co", "https://hf.co")
MAIN = "main"
LONGEST_NAME = 96
TRUE = {"1", "ON", "YES", "TRUE"}
OK = 200
UNREACHED = "check the network; HTTPS_PROXY names a proxy, HF_ENDPOINT a mirror"
REFUSED = {401, 403}
MOST_BYTES = 16 << 20  # of a listing: ten thousand files take 2 MB
MALFORMED = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


class HuggingFace:
    """The hub that ``HF_ENDPOINT`` names, else huggingface.co."""

    def __init__(self, http: Http, environ: Mapping[str, str]) -> None:
        self._http = http
        self._environ = environ
        self._hub = hub_endpoint(environ, "HF_ENDPOINT", host=HUGGINGFACE_HOST, own=OWN_ORIGINS)

    def repository(self, repo: str, revision: str | None) -> Repository:
        """Return the files of ``owner/repo`` at a revision, None for its main branch.

        Raises:
            ModelNameError: not the name of a repository.
            ModelNotFoundError: no such repository or revision, or none that one may see.
            HttpError: the hub refuses, or the repository is gated and one is not let in.
            NetworkError: the hub does not answer, or not as a hub does.
            OfflineError: there is to be no network.
            UsageError: the token is none.
        """
        _check_name(repo)
        self._check_online()
        token = self._token()
        credential = self._credential(token)
        asked = HubRequest(hub=self._hub, repo=repo, revision=revision, has_token=token is not None)
        info = self._info(asked, credential)
        try:
            found = self._repository(asked, info, credential)
        except MALFORMED as error:
            raise self._hub.unexpected_response() from error
        if info.get("gated"):
            self._check_gate(asked, found.files)
        return found

    def search(self, text: str, limit: int) -> list[SearchResult]:
        """Return repositories with GGUF files whose names have the text, most downloads first.

        Their files have names only.

        Raises:
            HttpError: the hub refuses.
            NetworkError: the hub does not answer, or not as a hub does.
            OfflineError: there is to be no network.
            UsageError: the token is none.
        """
        self._check_online()
        query = [("search", text), ("filter", "gguf"), ("sort", "downloads"), ("limit", str(limit))]
        query += [("expand", part) for part in ("downloads", "likes", "siblings")]
        url = f"{self._hub.url}/api/models?{urlencode(query)}"
        with self._opened(url, self._credential(self._token())) as response:
            if response.status != OK:
                raise http_error(response, "a search")
            body = response.body(MOST_BYTES)
        try:
            return [_found(item) for item in json.loads(body)][:limit]
        except MALFORMED as error:
            raise self._hub.unexpected_response() from error

    def _check_online(self) -> None:
        self._http.check_online(self._hub.url)
        for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
            if self._is_set(variable):
                raise OfflineError(
                    f"{variable} is set, and {self._hub.host} was wanted",
                    hint=f"{variable}=0 localrun ...   for this command alone",
                )

    def _is_set(self, variable: str) -> bool:
        return self._environ.get(variable, "").upper() in TRUE

    def _token(self) -> str | None:
        """Return the token for the endpoint, None for none."""
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

    def _info(self, asked: HubRequest, credential: Credential | None) -> dict[str, Any]:
        """Return what the hub tells of a repository, sizes and digests of files included."""
        at = f"/revision/{quote(asked.revision, safe='')}" if asked.revision is not None else ""
        url = f"{self._hub.url}/api/models/{asked.repo}{at}?blobs=true"
        try:
            with self._opened(url, credential) as response:
                if response.status != OK:
                    raise asked.refused(response)
                info = json.loads(response.body(MOST_BYTES))
        except (ValueError, RecursionError) as error:
            raise self._hub.unexpected_response() from error
        if not isinstance(info, dict):
            raise self._hub.unexpected_response()
        return info

    def _repository(
        self, asked: HubRequest, info: Mapping[str, Any], credential: Credential | None
    ) -> Repository:
        sha = None if info.get("sha") is None else str(info["sha"])
        root = f"/{asked.repo}/resolve/{quote(sha or asked.revision or MAIN, safe='')}"
        return Repository(
            name=f"{HUGGINGFACE_HOST}/{asked.repo}",
            revision=sha,
            files=tuple(self._file(root, one, credential) for one in info.get("siblings") or ()),
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

    def _check_gate(self, asked: HubRequest, files: Sequence[RemoteFile]) -> None:
        """Find out now and not at the download: what a gated repository has, all may list."""
        models = [file for file in files if file.name.endswith(".gguf")] or files
        for remote in models[0].sources if models else ():
            with self._http.open(
                remote.url, method="HEAD", credential=remote.credential, follow=False
            ) as response:
                if response.status in REFUSED:
                    raise asked.gated(response.status)


def _check_name(repo: str) -> None:
    """Return if the hub could have made a repository of this name; it makes none with these."""
    check_repo_name(repo)
    if "--" in repo or ".." in repo or repo.endswith(".git") or len(repo) > LONGEST_NAME:
        raise ModelNameError(f"not the name of a repository: {repo[:200]!r}")


def _licence(info: Mapping[str, Any]) -> str | None:
    """Return the licence that the card names, or else the tags."""
    card = info.get("cardData") or {}
    licence = card.get("license")
    if licence == "other":
        licence = card.get("license_name") or licence
    if isinstance(licence, str) and licence:
        return licence
    tags = (tag for tag in info.get("tags") or () if tag.startswith("license:"))
    return next((tag.removeprefix("license:") for tag in tags), None)


def _found(item: Mapping[str, Any]) -> SearchResult:
    files = (RemoteFile(name=str(file["rfilename"])) for file in item.get("siblings") or ())
    return SearchResult(
        name=f"{HUGGINGFACE_HOST}/{item['id']}",
        downloads=int(item.get("downloads") or 0),
        likes=int(item.get("likes") or 0),
        files=tuple(files),
    )
