"""Models in an OCI registry: Ollama's, Docker Hub and any other, to pull and to push.

Knows manifests as bytes with a digest and a media type, not what is in them. What is
returned has been checked: a manifest's bytes are those of its digest.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localrun.errors import IntegrityError, ModelNotFoundError, UsageError
from localrun.registry.oci.api import DIGEST, RegistryApi, pull_scope, push_scope
from localrun.registry.oci.blob import OutgoingBlob, UploadSession
from localrun.registry.oci.upload import BlobUpload
from localrun.registry.remote import FileSource, RemoteFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from localrun.registry.http import Http, Response

MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
ACCEPT = {"Accept": ", ".join((*MANIFESTS, *INDEXES))}
MOST_MANIFEST_BYTES = 4 << 20  # the registries' own limit
MOST_PAGES = 100
NEXT_PAGE = re.compile(r'<([^<>]{1,2000}+)>\s*+;\s*+rel="?next"?')
OK, CREATED, NOT_FOUND = 200, 201, 404


@dataclass(frozen=True, slots=True, kw_only=True)
class PulledManifest:
    """A manifest as the registry has it."""

    content: bytes
    digest: str  # "sha256:<hex>", of the content
    media_type: str


class OciRegistry:
    """One registry. For many threads."""

    def __init__(
        self,
        http: Http,
        host: str,
        *,
        environ: Mapping[str, str],
        home: Path,
        is_insecure: bool = False,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._api = RegistryApi(http, host, environ=environ, home=home, is_insecure=is_insecure)
        self._sleep = sleep

    def manifest(self, repo: str, reference: str) -> PulledManifest:
        """Return the manifest of a tag or a digest; the only model's where it is an index.

        Raises:
            ModelNotFoundError: there is none.
            UsageError: an index of several models.
            IntegrityError: the bytes are not those of the digest, or no manifest.
            NetworkError: the registry refuses or does not answer.
        """
        name = self._name(repo, reference)
        pulled = self._fetch(repo, reference, name)
        if pulled.media_type not in INDEXES:
            return pulled
        pulled = self._fetch(repo, _only_model(_object(pulled.content, name), name), name)
        if pulled.media_type in INDEXES:
            raise IntegrityError(f"{name} is an index of indexes, and holds no model")
        return pulled

    def blob_file(self, repo: str, digest: str, size_bytes: int) -> RemoteFile:
        """Return where a blob can be downloaded; its name is its digest.

        Raises:
            NetworkError: a token has ended and there is no new one.
        """
        scopes = (pull_scope(repo),)
        remote = FileSource(
            url=self._api.url(repo, "blobs", digest),
            name=self._api.host,
            credential=self._api.auth.current(scopes),
            refresh=lambda: self._api.auth.renew(scopes),
        )
        return RemoteFile(name=digest, size_bytes=size_bytes, digest=digest, sources=(remote,))

    def has_blob(self, repo: str, digest: str) -> bool:
        """Return whether a repository has a blob.

        Raises:
            NetworkError: the registry does not say.
        """
        return self._api.has_blob(repo, digest, (pull_scope(repo),))

    def upload_blob(
        self,
        repo: str,
        blob: OutgoingBlob,
        *,
        on_bytes: Callable[[int], None] = lambda _: None,
        session: UploadSession | None = None,
        mount_from: str | None = None,
    ) -> None:
        """Bring a blob into a repository, or mount it from another one of the registry.

        ``on_bytes`` is told the position reached, which a break sets back.

        Raises:
            NetworkError: the registry refuses, or breaks again and again.
            IntegrityError: the bytes are not those of the digest.
            StorageError: the bytes cannot be read.
        """
        upload = BlobUpload(
            self._api,
            repo,
            blob,
            session=session or UploadSession(),
            on_bytes=on_bytes,
            sleep=self._sleep,
        )
        upload.run(mount_from)

    def push_manifest(self, repo: str, reference: str, content: bytes, media_type: str) -> str:
        """Give a manifest whose blobs are there its tag, and return its digest.

        Raises:
            NetworkError: the registry refuses or does not answer.
            IntegrityError: the registry has other bytes.
        """
        name, digest = self._name(repo, reference), _digest(content)
        url, headers = self._api.url(repo, "manifests", reference), {"Content-Type": media_type}
        scopes = (push_scope(repo),)
        with self._api.call("PUT", url, scopes, headers=headers, body=content) as response:
            if response.status not in {OK, CREATED}:
                raise self._api.refusal(response, name)
            _check_digest(response, digest, name)
        return digest

    def tags(self, repo: str) -> list[str]:
        """Return a repository's tags, in the registry's order.

        Raises:
            ModelNotFoundError: no such repository.
            NetworkError: the registry refuses or does not answer.
        """
        url: str | None = self._api.url(repo, "tags", "list")
        found: list[str] = []
        for _ in range(MOST_PAGES):
            if url is None:
                break
            with self._api.call("GET", url, (pull_scope(repo),)) as response:
                self._expect(response, f"{self._api.host}/{repo}")
                page = _object(response.body(MOST_MANIFEST_BYTES), repo).get("tags")
                following = NEXT_PAGE.search(response.header("Link") or "")
                url = self._api.absolute(response.url, following[1]) if following else None
            found += [tag for tag in page if isinstance(tag, str)] if isinstance(page, list) else []
        return found

    def _fetch(self, repo: str, reference: str, name: str) -> PulledManifest:
        url = self._api.url(repo, "manifests", reference)
        with self._api.call("GET", url, (pull_scope(repo),), headers=ACCEPT) as response:
            self._expect(response, name)
            content = response.body(MOST_MANIFEST_BYTES)
            digest = _digest(content)
            _check_digest(response, digest, name)
            sent_type = (response.header("Content-Type") or "").partition(";")[0].strip().lower()
        if ":" in reference and reference != digest:
            raise IntegrityError(f"{name}: the registry sends other bytes, {digest}")
        media_type = _object(content, name).get("mediaType") or sent_type
        return PulledManifest(content=content, digest=digest, media_type=str(media_type))

    def _expect(self, response: Response, name: str) -> None:
        if response.status == NOT_FOUND:
            model = name.rpartition("/")[2].partition("@")[0].partition(":")[0]
            raise ModelNotFoundError(
                f"there is no {name}", hint=f"localrun search {model}   finds models"
            )
        if response.status != OK:
            raise self._api.refusal(response, name)

    def _name(self, repo: str, reference: str) -> str:
        return f"{self._api.host}/{repo}{'@' if ':' in reference else ':'}{reference}"


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _check_digest(response: Response, digest: str, name: str) -> None:
    """Compare what a registry says of a manifest; another algorithm's digest tells nothing."""
    said = response.header("Docker-Content-Digest")
    if said is not None and said.startswith("sha256:") and said != digest:
        raise IntegrityError(f"{name}: the registry says it is {said[:80]}, and it is {digest}")


def _object(content: bytes, name: str) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{name} is not JSON") from error
    if not isinstance(value, dict):
        raise IntegrityError(f"{name} is not a JSON object")
    return value


def _only_model(index: dict[str, Any], name: str) -> str:
    """Return the digest of the only manifest of an index that may be a model's."""
    listed = index.get("manifests")
    found = [entry for entry in listed if _may_be_model(entry)] if isinstance(listed, list) else []
    if not found:
        raise ModelNotFoundError(f"{name} is an index without a model")
    if len(found) > 1:
        raise UsageError(
            f"{name} is an index of {len(found)} models: name one by its digest",
            hint=f"localrun pull {re.sub('[:@][^/]*$', '', name)}@{found[0]['digest']}",
        )
    return str(found[0]["digest"])


def _may_be_model(entry: object) -> bool:
    """Tell a manifest from signatures, attestations and the like."""
    digest = entry.get("digest") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        return False
    notes = entry.get("annotations")
    is_attestation = isinstance(notes, dict) and "vnd.docker.reference.type" in notes
    kind = entry.get("artifactType")
    is_other = isinstance(kind, str) and "model" not in kind
    return entry.get("mediaType") in MANIFESTS and not is_attestation and not is_other
