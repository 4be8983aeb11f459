"""Model manifests: OCI image manifests of our own and of other tools.

A manifest is stored as the bytes that were pulled or created, so its digest is the model's id
everywhere. Reads the manifests of Docker Model Runner (config v0.1 and v0.2), the CNCF model
format, Ollama and localrun; writes them as Docker does:

    {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
     "config": {"mediaType": "application/vnd.docker.ai.model.config.v0.1+json", "digest", "size"},
     "layers": [{"mediaType": "application/vnd.docker.ai.gguf.v3", "digest": "sha256:<hex>",
                 "size": 123, "annotations": {"org.cncf.model.filepath": "model.gguf"}}]}

A file that was translated here has the digest and the size of the published one as annotations
``localrun.published.*`` of its layer, and the manifest that of the published manifest.

https://github.com/opencontainers/image-spec/blob/main/manifest.md
https://github.com/docker/model-spec
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

from localrun.errors import IntegrityError
from localrun.store.layout import hex_of, is_digest

if TYPE_CHECKING:
    from collections.abc import Mapping

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_CONFIG = "application/vnd.docker.ai.model.config.v0.1+json"
OLLAMA_TEMPLATE = "application/vnd.ollama.image.template"  # in Go's language
FILE_PATH = "org.cncf.model.filepath"
PUBLISHED, PUBLISHED_BYTES = "localrun.published.digest", "localrun.published.size"
MAX_BYTES = 4 << 20  # a manifest; the registries' own limit
MAX_LAYERS = 2_000
LARGEST_BLOB = 1 << 50


class Role(StrEnum):
    """Purpose of a layer."""

    WEIGHTS = "weights"
    PROJECTOR = "projector"
    ADAPTER = "adapter"
    DRAFT = "draft"
    TEMPLATE = "template"
    SYSTEM = "system"
    PARAMS = "params"
    MESSAGES = "messages"
    LICENSE = "license"
    RECIPE = "recipe"
    REMOTE = "remote"  # the engine that answers in place of weights
    OTHER = "other"


MEDIA_TYPES = {
    Role.WEIGHTS: "application/vnd.docker.ai.gguf.v3",
    Role.PROJECTOR: "application/vnd.docker.ai.mmproj",
    Role.ADAPTER: "application/vnd.docker.ai.gguf.v3.lora",
    Role.DRAFT: "application/vnd.localrun.draft.v1.gguf",
    Role.TEMPLATE: "application/vnd.docker.ai.chat.template.jinja",
    Role.LICENSE: "application/vnd.docker.ai.license",
    Role.RECIPE: "application/vnd.localrun.recipe.v1+json",
    Role.REMOTE: "application/vnd.localrun.remote.v1+json",
    Role.OTHER: "application/vnd.docker.ai.model.file",
}
ROLES = {media_type: role for role, media_type in MEDIA_TYPES.items()} | {
    "application/vnd.docker.ai.gguf.v3.mmproj": Role.PROJECTOR,
    "application/vnd.cncf.model.weight.v1.gguf": Role.WEIGHTS,
    "application/vnd.ollama.image.model": Role.WEIGHTS,
    "application/vnd.ollama.image.projector": Role.PROJECTOR,
    "application/vnd.ollama.image.adapter": Role.ADAPTER,
    "application/vnd.ollama.image.draft": Role.DRAFT,
    OLLAMA_TEMPLATE: Role.TEMPLATE,
    "application/vnd.ollama.image.prompt": Role.TEMPLATE,
    "application/vnd.ollama.image.system": Role.SYSTEM,
    "application/vnd.ollama.image.params": Role.PARAMS,
    "application/vnd.ollama.image.messages": Role.MESSAGES,
    "application/vnd.ollama.image.license": Role.LICENSE,
}
MAX_OF = {  # layers of a role; each is opened, and texts are read whole
    Role.WEIGHTS: 1000,
    Role.DRAFT: 1000,
    Role.ADAPTER: 200,
    Role.LICENSE: 200,
    Role.PROJECTOR: 16,
    Role.TEMPLATE: 16,
    Role.SYSTEM: 16,
    Role.PARAMS: 16,
    Role.MESSAGES: 16,
    Role.RECIPE: 16,
    Role.REMOTE: 1,
}
CNCF_RAW = ("application/vnd.cncf.model.weight.", "application/vnd.cncf.model.doc.")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFile:
    """File of which a translated blob was made."""

    digest: str  # "sha256:<hex>"
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """Blob that a manifest names."""

    media_type: str
    digest: str  # "sha256:<hex>"
    size_bytes: int
    name: str | None = None  # file name, which never leaves its folder
    published: PublishedFile | None = None

    @property
    def role(self) -> Role:
        """Return the purpose of the blob."""
        if self.media_type in ROLES:
            return ROLES[self.media_type]
        name = (self.name or "").lower()
        if self.media_type.startswith(CNCF_RAW):
            return _role_by_name(name)
        return Role.WEIGHTS if "gguf" in self.media_type else Role.OTHER

    def to_json(self) -> dict[str, Any]:
        """Return the descriptor in the manifest's format."""
        known = {"mediaType": self.media_type, "digest": self.digest, "size": self.size_bytes}
        annotations = {FILE_PATH: self.name} if self.name else {}
        if self.published is not None:
            annotations[PUBLISHED] = self.published.digest
            annotations[PUBLISHED_BYTES] = str(self.published.size_bytes)
        return known | ({"annotations": annotations} if annotations else {})

    @classmethod
    def from_json(cls, value: Any) -> Self:  # noqa: ANN401 - untrusted JSON
        """Parse a descriptor.

        Raises:
            IntegrityError: the descriptor is malformed.
        """
        try:
            media_type, digest, size = value["mediaType"], value["digest"], value["size"]
            annotations = value.get("annotations") or {}
            name = annotations.get(FILE_PATH) or annotations.get("org.opencontainers.image.title")
            published = _published(annotations.get(PUBLISHED), annotations.get(PUBLISHED_BYTES))
        except (KeyError, TypeError, AttributeError) as error:
            raise IntegrityError(f"a manifest's layer lacks {error}") from error
        if not isinstance(digest, str):
            raise IntegrityError("a manifest's layer has a digest that is not a text")
        hex_of(digest)
        if not _is_text(media_type) or type(size) is not int or not 0 <= size < LARGEST_BLOB:
            raise IntegrityError(f"a manifest's layer is malformed: {digest}")
        return cls(
            media_type=media_type,
            digest=digest,
            size_bytes=size,
            name=_file_name(name),
            published=published,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Blobs of one model."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    media_type: str = OCI_MANIFEST
    published: str | None = None  # digest of the manifest that was published

    def with_role(self, role: Role) -> list[Descriptor]:
        """Return the layers of a role in order."""
        return [layer for layer in self.layers if layer.role is role]

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Return config and layers, each digest once."""
        return tuple({blob.digest: blob for blob in (self.config, *self.layers)}.values())

    @property
    def size_bytes(self) -> int:
        """Return the size of all blobs together."""
        return sum(blob.size_bytes for blob in self.blobs)

    def to_bytes(self) -> bytes:
        """Return the canonical bytes of the manifest."""
        return _canonical(
            {
                "schemaVersion": 2,
                "mediaType": self.media_type,
                "config": self.config.to_json(),
                "layers": [layer.to_json() for layer in self.layers],
                **({"annotations": {PUBLISHED: self.published}} if self.published else {}),
            }
        )


def parse_manifest(content: bytes) -> Manifest:
    """Parse a manifest of any supported tool.

    Raises:
        IntegrityError: the content is no model manifest, such as an index.
    """
    if len(content) > MAX_BYTES:
        raise IntegrityError(f"a manifest of {len(content)} bytes, more than {MAX_BYTES}")
    try:
        value = json.loads(content)
        layers = value["layers"]
        config = value["config"]
        media_type = value.get("mediaType") or OCI_MANIFEST
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError("not a model manifest") from error
    if not isinstance(layers, list) or len(layers) > MAX_LAYERS or not _is_text(media_type):
        raise IntegrityError("not a model manifest")
    manifest = Manifest(
        media_type=media_type,
        config=Descriptor.from_json(config),
        layers=tuple(Descriptor.from_json(layer) for layer in layers),
        published=_published_manifest(value.get("annotations")),
    )
    _check_sizes(manifest)
    _check_roles(manifest)
    return manifest


def model_config(facts: Mapping[str, Any], layers: tuple[Descriptor, ...]) -> bytes:
    """Return the config blob of a model, as Docker Model Runner reads it.

    The keys of ``facts`` are format, quantization, parameters, architecture, size, context_size.
    """
    return _canonical(
        {
            "config": dict(facts),
            "descriptor": {},
            "rootfs": {"type": "rootfs", "diff_ids": [layer.digest for layer in layers]},
        }
    )


def _published(digest: object, size: object) -> PublishedFile | None:
    """Return the file of which a blob was made; malformed annotations say nothing."""
    if not isinstance(digest, str) or not is_digest(digest):
        return None
    if not isinstance(size, str) or not size.isdecimal() or not 0 <= int(size[:20]) < LARGEST_BLOB:
        return None
    return PublishedFile(digest=digest, size_bytes=int(size))


def _published_manifest(annotations: object) -> str | None:
    digest = annotations.get(PUBLISHED) if isinstance(annotations, dict) else None
    return digest if isinstance(digest, str) and is_digest(digest) else None


def _canonical(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def _file_name(name: object) -> str | None:
    """Return a layer's file name, or None if it would leave its folder."""
    if not isinstance(name, str) or not _is_text(name) or "\\" in name or "\0" in name:
        return None
    parts = name.split("/")
    return None if any(part in {"", ".", ".."} for part in parts) else name


def _is_text(value: object) -> bool:
    """Return whether a value is a string that UTF-8 can encode: JSON allows lone surrogates."""
    if not isinstance(value, str):
        return False
    try:
        return bool(value.encode())
    except UnicodeEncodeError:
        return False


def _check_sizes(manifest: Manifest) -> None:
    sizes: dict[str, int] = {}
    for blob in (manifest.config, *manifest.layers):
        if sizes.setdefault(blob.digest, blob.size_bytes) != blob.size_bytes:
            raise IntegrityError(f"a manifest states two sizes of {blob.digest}")


def _check_roles(manifest: Manifest) -> None:
    """Refuse a manifest that names a blob many times to have it read as often."""
    for role, number in Counter(layer.role for layer in manifest.layers).items():
        if number > MAX_OF.get(role, MAX_LAYERS):
            raise IntegrityError(f"a manifest with {number} layers of the role {role}")


def _role_by_name(name: str) -> Role:
    if name.endswith(".gguf"):
        return Role.PROJECTOR if "mmproj" in name else Role.WEIGHTS
    if name.endswith(".jinja"):
        return Role.TEMPLATE
    return Role.LICENSE if "license" in name else Role.OTHER
