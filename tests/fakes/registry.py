"""A strict OCI registry in memory: an answer for ``web.serving``, to the letter of the spec."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field

from tests.fakes.web import Reply, Request

UPLOAD = re.compile(r"/v2/(.+)/blobs/uploads/(\d*)")
BLOB = re.compile(r"/v2/(.+)/blobs/(sha256:[0-9a-f]{64})")
MANIFEST = re.compile(r"/v2/(.+)/manifests/(.+)")


@dataclass(slots=True)
class FakeRegistry:
    """Repositories' blobs and manifests by digest, tags, and uploads that are not finished."""

    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], tuple[bytes, str]] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    takes_chunks: bool = True
    forgets_on_cut: bool = False  # as distribution 2.8 does
    loses_answers: int = 0  # to the last PUT, so many times

    def __call__(self, request: Request) -> Reply:
        if found := UPLOAD.fullmatch(request.path):
            return self._upload(request, found[1], found[2])
        if found := BLOB.fullmatch(request.path):
            blob = self.blobs.get((found[1], found[2]))
            return Reply(404) if blob is None else Reply(200, blob)
        if found := MANIFEST.fullmatch(request.path):
            return self._manifest(request, found[1], found[2])
        return Reply(200)

    def add_manifest(self, repo: str, tag: str, value: object, media_type: str) -> str:
        content = json.dumps(value).encode()
        digest = digest_of(content)
        self.manifests[repo, tag] = self.manifests[repo, digest] = (content, media_type)
        return digest

    def _manifest(self, request: Request, repo: str, reference: str) -> Reply:
        if request.method == "PUT":
            digest = digest_of(request.body)
            stored = (request.body, request.headers["content-type"])
            self.manifests[repo, reference] = self.manifests[repo, digest] = stored
            return Reply(201, headers={"Docker-Content-Digest": digest})
        if (repo, reference) not in self.manifests:
            return Reply(404, b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}')
        content, media_type = self.manifests[repo, reference]
        headers = {"Content-Type": media_type, "Docker-Content-Digest": digest_of(content)}
        return Reply(200, content, headers)

    def _upload(self, request: Request, repo: str, name: str) -> Reply:
        if request.method == "POST":
            return self._begin(request, repo)
        if name not in self.uploads:
            return Reply(404, b'{"errors": [{"code": "BLOB_UPLOAD_UNKNOWN"}]}')
        if request.method == "PATCH":
            return self._chunk(request, repo, name)
        if request.method == "PUT":
            return self._finish(request, repo, name)
        return self._at(204, repo, name)

    def _begin(self, request: Request, repo: str) -> Reply:
        if "mount" in request.query:
            digest, other = request.query["mount"][0], request.query["from"][0]
            if (other, digest) in self.blobs:
                self.blobs[repo, digest] = self.blobs[other, digest]
                return Reply(201)
        name = str(len(self.uploads) + 1)
        self.uploads[name] = b""
        return self._at(202, repo, name)

    def _chunk(self, request: Request, repo: str, name: str) -> Reply:
        if not self.takes_chunks:
            return Reply(400, b'{"errors": [{"code": "UNSUPPORTED"}]}')
        start = int(request.headers["content-range"].split("-")[0])
        if start != len(self.uploads[name]):
            return self._at(416, repo, name)
        self.uploads[name] += request.body
        if request.is_cut and self.forgets_on_cut:
            del self.uploads[name]
            return Reply(0)
        return self._at(202, repo, name)

    def _finish(self, request: Request, repo: str, name: str) -> Reply:
        if request.is_cut:
            return Reply(0)
        content = self.uploads[name] + request.body
        digest = request.query["digest"][0]
        if digest_of(content) != digest:
            return Reply(400, b'{"errors": [{"code": "DIGEST_INVALID"}]}')
        self.blobs[repo, digest] = content
        del self.uploads[name]
        if self.loses_answers > 0:
            self.loses_answers -= 1
            return Reply(0)
        return Reply(201, headers={"Docker-Content-Digest": digest})

    def _at(self, status: int, repo: str, name: str) -> Reply:
        end = max(0, len(self.uploads[name]) - 1)
        location = f"/v2/{repo}/blobs/uploads/{name}?_state=secret"
        return Reply(status, headers={"Location": location, "Range": f"0-{end}"})


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
