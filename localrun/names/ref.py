"""Model reference: the parts of a model's name, and its canonical text.

    guide:latest                                 a name of this machine or of the catalog
    owner/model:tag                              the same with a namespace
    hf.co/owner/repo:Q8_0                        a quantization in a Hugging Face repository
    hf.co/owner/repo/folder/file.gguf@revision   one file of it, at a revision
    modelscope.cn/owner/repo:Q8_0                the same on ModelScope
    registry.ollama.ai/library/llama3.2:3b       Ollama's registry
    docker.io/ai/smollm2:latest                  Docker's
    host:5000/namespace/model:tag                any other OCI registry
    https://host/file.gguf                       a file of a web server
    ./file.gguf                                  a file of this machine

``parse_name(str(ref)) == ref`` for every reference. Names that differ only in case are one name in
the store, as on the file systems of most laptops; ``key`` is that name.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import quote

DEFAULT_TAG = "latest"
LONGEST_PART = 255  # bytes of a file name
LOCAL_HOST, LOCAL_NAMESPACE = "localrun", "library"  # in the store; never shown
ANY_PATH = "surrogatepass"  # Python represents non-UTF-8 bytes of a path as lone surrogates
RESERVED = {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{port}{n}" for port in ("com", "lpt") for n in range(10)),
}


class ModelSource(StrEnum):
    """Kind of source that a name refers to."""

    LOCAL = "local"  # created here, or in the catalog
    HUGGINGFACE = "hf"
    MODELSCOPE = "ms"
    REGISTRY = "oci"  # Ollama's, Docker's or any other OCI registry
    URL = "url"
    FILE = "file"


HUGGINGFACE_HOST = "hf.co"
MODELSCOPE_HOST = "modelscope.cn"
OLLAMA_HOST = "registry.ollama.ai"
DOCKER_HOST = "docker.io"
HUBS = {HUGGINGFACE_HOST: ModelSource.HUGGINGFACE, MODELSCOPE_HOST: ModelSource.MODELSCOPE}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRef:
    """Parts of a model's name; None for parts that the text omits.

    ``location`` is set if the reference is a URL or a path, and then is the only part besides the
    digest. It excludes the login or signature of a URL; ``full_address`` includes them, and only a
    download reads it. ``namespace`` may contain slashes in an OCI registry.
    """

    model: str = ""
    tag: str = DEFAULT_TAG
    namespace: str | None = None
    host: str | None = None
    file: str | None = None  # in a hub's repository, with "/" between folders
    revision: str | None = None  # of a hub's repository
    digest: str | None = None  # "sha256:<hex>" of the manifest, or of a URL's file
    location: str | None = None
    full_address: str | None = field(default=None, compare=False, repr=False)  # with secrets

    @property
    def source(self) -> ModelSource:
        """Return the kind of source that the name refers to."""
        if self.location is not None:
            return (
                ModelSource.URL
                if self.location.startswith(("http://", "https://"))
                else ModelSource.FILE
            )
        if self.host is None:
            return ModelSource.LOCAL
        return HUBS.get(self.host, ModelSource.REGISTRY)

    @property
    def repo(self) -> str:
        """Return ``namespace/model``, the name that hubs and registries use."""
        return "/".join(part for part in (self.namespace, self.model) if part)

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Return host, namespace, model and tag as file names that any file system accepts."""
        if self.location is not None:
            name = self.location.rsplit("/", 1)[-1] or "model"
            short = hashlib.sha256(self.location.encode(errors=ANY_PATH)).hexdigest()[:16]
            encoded = _file_name(name[-100:])[-LONGEST_PART:]
            return (self.source.value, LOCAL_NAMESPACE, encoded, short)
        tag = self.file or self.tag
        if self.revision is not None:
            tag += f"@{self.revision}"
        parts = (self.host or LOCAL_HOST, self.namespace or LOCAL_NAMESPACE, self.model, tag)
        host, namespace, model, tag = map(_file_name, parts)
        return (host, namespace, model, tag)

    def __str__(self) -> str:
        if self.location is not None:
            digest = f"#{self.digest.replace(':', '=')}" if self.digest else ""
            return self.location + digest
        name = "/".join(part for part in (self.host, self.namespace, self.model) if part)
        if self.host and not self.namespace and not looks_like_host(self.host):
            name = f"oci://{name}"
        name += f"/{self.file}" if self.file is not None else f":{self.tag}"
        revision = f"@{self.revision}" if self.revision is not None else ""
        return name + revision + (f"@{self.digest}" if self.digest else "")


def looks_like_host(text: str) -> bool:
    """Return whether the first part of a name is a host and not a namespace."""
    return "." in text or ":" in text or text == "localhost"


def _file_name(part: str) -> str:
    """Encode a part so that exactly the names that are equal ignoring case are equal files."""
    encoded = quote(part.casefold(), safe="-_.", errors=ANY_PATH).replace("~", "%7e")
    if encoded.startswith("."):
        encoded = "%2e" + encoded[1:]
    if encoded.endswith("."):
        encoded = encoded[:-1] + "%2e"
    return f"{encoded}%" if encoded.split(".")[0] in RESERVED else encoded
