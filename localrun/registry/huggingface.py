"""Hugging Face: what a repository has, and where; search. The home of huggingface_hub.

Lists by ``HfApi``; downloads nothing itself. Read of the environment:

    HF_ENDPOINT                                a mirror, or a hub of one's own
    HF_TOKEN, HUGGING_FACE_HUB_TOKEN           a token, sent to the endpoint, whichever it is
    HF_TOKEN_PATH, HF_HOME                     where the login of ``hf auth login`` is
    HF_HUB_DISABLE_IMPLICIT_TOKEN              no token at all, as the library has it

The stored login was given to huggingface.co, so it goes to https://huggingface.co and
https://hf.co only: a mirror gets a token only if one of the two variables holds it. No
token follows a redirect to another origin.
"""

from __future__ import annotations

import json
import logging
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from localrun import __version__
from localrun.errors import NetworkError
from localrun.names.ref import HUGGINGFACE_HOST
from localrun.registry.http import http_error
from localrun.registry.hub_endpoint import check_repo_name, clean_token, hub_endpoint
from localrun.registry.huggingface_errors import Asked, transport_error
from localrun.registry.remote import Found, RemoteFile, Repository

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from huggingface_hub.hf_api import ModelInfo, RepoSibling

    from localrun.registry.http import Credential, Http

OWN_ORIGINS = ("https://huggingface.co", "https://hf.co")
MAIN = "main"
TIMEOUT_S = 30.0
TRUE = {"1", "ON", "YES", "TRUE"}
OK = 200
REFUSED = {401, 403}
QUIET = (
    "HF_HUB_DISABLE_TELEMETRY",
    "DO_NOT_TRACK",
    "HF_HUB_DISABLE_XET",
    "HF_HUB_DISABLE_PROGRESS_BARS",
)


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
        check_repo_name(repo)
        self._http.check_online(self._hub.url)
        token = self._token()
        credential = self._credential(token)
        asked = Asked(hub=self._hub, repo=repo, revision=revision, has_token=token is not None)
        info = self._info(asked, token)
        commit = info.sha or revision or MAIN
        files = tuple(self._file(repo, commit, one, credential) for one in info.siblings or ())
        if info.gated:
            self._check_gate(asked, files)
        name = f"{HUGGINGFACE_HOST}/{repo}"
        return Repository(name=name, revision=info.sha, files=files, licence=_licence(info))

    def search(self, text: str, limit: int) -> list[Found]:
        """Return repositories with GGUF files whose names have the text, most downloads first.

        Their files have names only. By plain HTTP: ``HfApi.list_models`` has no time limit,
        and goes on for 23 seconds at a hub that is down.

        Raises:
            HttpError: the hub refuses.
            NetworkError: the hub does not answer, or not as a hub does.
            OfflineError: there is to be no network.
            UsageError: the token is none.
        """
        self._http.check_online(self._hub.url)
        query = [("search", text), ("filter", "gguf"), ("sort", "downloads"), ("limit", str(limit))]
        query += [("expand", part) for part in ("downloads", "likes", "siblings")]
        url = f"{self._hub.url}/api/models?{urlencode(query)}"
        with self._http.open(url, credential=self._credential(self._token())) as response:
            if response.status != OK:
                raise http_error(response, "a search")
            body = response.body()
        try:
            return [_found(item) for item in json.loads(body)][:limit]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._hub.nonsense() from error

    def _token(self) -> str | None:
        """Return the token for the endpoint, None for none."""
        if self._environ.get("HF_HUB_DISABLE_IMPLICIT_TOKEN", "").upper() in TRUE:
            return None
        for variable in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
            if token := clean_token(self._environ.get(variable), variable):
                return token
        return _stored_login() if self._hub.is_own else None

    def _credential(self, token: str | None) -> Credential | None:
        return self._hub.credential({"Authorization": f"Bearer {token}"}) if token else None

    def _info(self, asked: Asked, token: str | None) -> ModelInfo:
        _quieten()
        from huggingface_hub import HfApi, get_session
        from huggingface_hub.errors import OfflineModeIsEnabled

        get_session().timeout = TIMEOUT_S
        try:
            api = HfApi(
                endpoint=self._hub.url,
                token=token or False,  # None would take the stored login
                library_name="localrun",
                library_version=__version__,
            )
            return api.model_info(
                asked.repo, revision=asked.revision, timeout=TIMEOUT_S, files_metadata=True
            )
        except (transport_error(), OfflineModeIsEnabled, ValueError, KeyError, TypeError) as error:
            raise asked.explain(error) from error

    def _file(
        self, repo: str, commit: str, file: RepoSibling, credential: Credential | None
    ) -> RemoteFile:
        return self._hub.file(
            file.rfilename,
            f"/{repo}/resolve/{quote(commit, safe='')}/{quote(file.rfilename)}",
            size=file.size,
            sha256=file.lfs.sha256 if file.lfs else None,
            credential=credential,
        )

    def _check_gate(self, asked: Asked, files: Sequence[RemoteFile]) -> None:
        """Find out now and not at the download: what a gated repository has, all may list."""
        models = [file for file in files if file.name.endswith(".gguf")] or files
        for remote in models[0].remotes if models else ():
            with self._http.open(
                remote.url, method="HEAD", credential=remote.credential, follow=False
            ) as response:
                if response.status in REFUSED:
                    raise asked.gated(response.status)


def _quieten() -> None:
    """Set what the library reads of the environment when it is imported; call before that."""
    os.environ.update(dict.fromkeys(QUIET, "1"))
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


def _stored_login() -> str | None:
    """Return the token of ``hf auth login``, renewed if it was about to expire."""
    _quieten()
    from huggingface_hub import get_token
    from huggingface_hub.errors import OIDCError

    try:
        return clean_token(get_token(), "the stored login")
    except (transport_error(), OIDCError, OSError, UnicodeDecodeError) as error:
        raise NetworkError(
            f"the login for {HUGGINGFACE_HOST} cannot be read: {error}",
            hint="hf auth login, or set HF_TOKEN",
        ) from error


def _licence(info: ModelInfo) -> str | None:
    """Return the licence that the card names, or else the tags."""
    card: dict[str, Any] = vars(info.card_data) if info.card_data else {}
    licence = card.get("license")
    if licence == "other":
        licence = card.get("license_name") or licence
    if isinstance(licence, str) and licence:
        return licence
    tags = (tag for tag in info.tags or () if tag.startswith("license:"))
    return next((tag.removeprefix("license:") for tag in tags), None)


def _found(item: Mapping[str, Any]) -> Found:
    files = (RemoteFile(name=str(file["rfilename"])) for file in item.get("siblings") or ())
    return Found(
        name=f"{HUGGINGFACE_HOST}/{item['id']}",
        downloads=int(item.get("downloads") or 0),
        likes=int(item.get("likes") or 0),
        files=tuple(files),
    )
