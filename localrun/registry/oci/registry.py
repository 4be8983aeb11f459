"""Client of one OCI registry (Ollama's, Docker Hub and others): pull and push of models.

Treats manifests as bytes with a digest and a media type, and does not read their content.
Everything returned is verified: a manifest's bytes match its digest.

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
MAX_MANIFEST_BYTES = 4 << 20  # the registries' own limit
MAX_PAGES = 100
NEXT_PAGE = re.compile(r'<([^<>]{1,2000}+)>\s*+;\s*+rel="?next"?')
OK, CREATED, NOT_FOUND = 200, 201, 404


@dataclass(frozen=True, slots=True, kw_only=True)
class PulledManifest:
    """Manifest as the registry stores it."""

    content: bytes
    digest: str  # "sha256:<hex>", of the content
    media_type: str


class OciRegistry:
    """Client of one registry. Safe to use from many threads."""

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
        """Return the manifest of a tag or digest; of an index, its only model's manifest.

        Raises:
            ModelNotFoundError: the manifest does not exist.
            UsageError: it is an index of several models.
            IntegrityError: the bytes do not match the digest, or are no manifest.
            NetworkError: the registry refuses or does not answer.
        """
        name = self._name(repo, reference)
        pulled = self._fetch(repo, reference, name)
        if pulled.media_type not in INDEXES:
            return pulled
        pulled = self._fetch(repo, _only_model(_object(pulled.content, name), name), name)
        if pulled.media_type in INDEXES:
            raise IntegrityError(f"{name} is an index of indexes and has no model")
        return pulled

    def blob_file(self, repo: str, digest: str, size_bytes: int) -> RemoteFile:
        """Return a blob as a file to download; the file's name is its digest.

        Raises:
            NetworkError: a token has expired and the registry issues no new one.
        """
        scopes = (pull_scope(repo),)
        source = FileSource(
            url=self._api.url(repo, "blobs", digest),
            name=self._api.host,
            credential=self._api.auth.current(scopes),
            refresh=lambda: self._api.auth.renew(scopes),
        )
        return RemoteFile(name=digest, size_bytes=size_bytes, digest=digest, sources=(source,))

    def has_blob(self, repo: str, digest: str) -> bool:
        """Return whether a repository has a blob.

        Raises:
            NetworkError: the registry refuses or does not answer.
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
        """Upload a blob, or mount it from another repository of the registry.

        ``on_bytes`` receives the position reached, which an interruption sets back.

        Raises:
            NetworkError: the registry refuses, or the connection breaks repeatedly.
            IntegrityError: the bytes do not match the digest.
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
        """Upload a manifest under a tag, after its blobs, and return its digest.

        Raises:
            NetworkError: the registry refuses or does not answer.
            IntegrityError: the registry stored other bytes.
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
        """Return a repository's tags in the registry's order.

        Raises:
            ModelNotFoundError: the repository does not exist.
            NetworkError: the registry refuses or does not answer.
        """
        url: str | None = self._api.url(repo, "tags", "list")
        tags: list[str] = []
        for _ in range(MAX_PAGES):
            if url is None:
                break
            with self._api.call("GET", url, (pull_scope(repo),)) as response:
                self._expect(response, f"{self._api.host}/{repo}")
                page = _object(response.body(MAX_MANIFEST_BYTES), repo).get("tags")
                next_page = NEXT_PAGE.search(response.header("Link") or "")
                url = self._api.absolute(response.url, next_page[1]) if next_page else None
            tags += [tag for tag in page if isinstance(tag, str)] if isinstance(page, list) else []
        return tags

    def _fetch(self, repo: str, reference: str, name: str) -> PulledManifest:
        url = self._api.url(repo, "manifests", reference)
        with self._api.call("GET", url, (pull_scope(repo),), headers=ACCEPT) as response:
            self._expect(response, name)
            content = response.body(MAX_MANIFEST_BYTES)
            digest = _digest(content)
            _check_digest(response, digest, name)
            sent_type = (response.header("Content-Type") or "").partition(";")[0].strip().lower()
        if ":" in reference and reference != digest:
            raise IntegrityError(f"digest mismatch: {name} has {digest}")
        media_type = _object(content, name).get("mediaType") or sent_type
        return PulledManifest(content=content, digest=digest, media_type=str(media_type))

    def _expect(self, response: Response, name: str) -> None:
        if response.status == NOT_FOUND:
            model = name.rpartition("/")[2].partition("@")[0].partition(":")[0]
            raise ModelNotFoundError(
                f"{name} does not exist", hint=f"localrun search {model}   finds models"
            )
        if response.status != OK:
            raise self._api.refusal(response, name)

    def _name(self, repo: str, reference: str) -> str:
        return f"{self._api.host}/{repo}{'@' if ':' in reference else ':'}{reference}"


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _check_digest(response: Response, digest: str, name: str) -> None:
    """Compare a manifest's digest with the registry's header; ignore other hash algorithms."""
    stated = response.header("Docker-Content-Digest")
    if stated is not None and stated.startswith("sha256:") and stated != digest:
        raise IntegrityError(
            f"digest mismatch: the registry states {stated[:80]} for {name}, which has {digest}"
        )


def _object(content: bytes, name: str) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{name} is not JSON") from error
    if not isinstance(value, dict):
        raise IntegrityError(f"{name} is not a JSON object")
    return value


def _only_model(index: dict[str, Any], name: str) -> str:
    """Return the digest of the only manifest of an index that may be a model."""
    listed = index.get("manifests")
    models = [entry for entry in listed if _may_be_model(entry)] if isinstance(listed, list) else []
    if not models:
        raise ModelNotFoundError(f"{name} is an index without a model")
    if len(models) > 1:
        raise UsageError(
            f"{name} is an index of {len(models)} models: give the digest of one",
            hint=f"localrun pull {re.sub('[:@][^/]*$', '', name)}@{models[0]['digest']}",
        )
    return str(models[0]["digest"])


def _may_be_model(entry: object) -> bool:
    """Return whether an index entry is no signature, attestation or other artifact."""
    digest = entry.get("digest") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        return False
    annotations = entry.get("annotations")
    is_attestation = isinstance(annotations, dict) and "vnd.docker.reference.type" in annotations
    kind = entry.get("artifactType")
    is_other = isinstance(kind, str) and "model" not in kind
    return entry.get("mediaType") in MANIFESTS and not is_attestation and not is_other
