"""Parser of model names: ``[source:][host/][namespace/]model[:tag][@sha256:digest]``.

Knows the grammar, not what exists. URLs of model pages and paths of this machine are names too.
Every text yields one `ModelRef` or a named error.
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from localrun.errors import ModelNameError, ModelNotFoundError
from localrun.names.pages import parse_page
from localrun.names.ref import (
    ANY_PATH,
    DEFAULT_TAG,
    DOCKER_HOST,
    HUBS,
    HUGGINGFACE_HOST,
    LONGEST_PART,
    MODELSCOPE_HOST,
    OLLAMA_HOST,
    ModelRef,
    looks_like_host,
)

PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)
HOST = re.compile(
    r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]{0,251}|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?", re.ASCII
)
REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,127}", re.ASCII)
DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
FILE = re.compile(r"[^\x00-\x1f\\:@?#]{1,400}")
PREFIXES = {
    "hf": HUGGINGFACE_HOST,
    "huggingface": HUGGINGFACE_HOST,
    "ms": MODELSCOPE_HOST,
    "modelscope": MODELSCOPE_HOST,
    "ollama": OLLAMA_HOST,
    "docker": DOCKER_HOST,
    "oci": "",  # the host follows
}
SAME_HOSTS = {
    "huggingface.co": HUGGINGFACE_HOST,
    "www.modelscope.cn": MODELSCOPE_HOST,
    "index.docker.io": DOCKER_HOST,
    "registry-1.docker.io": DOCKER_HOST,
    "ollama.com": OLLAMA_HOST,
}
DEFAULT_NAMESPACES = {OLLAMA_HOST: "library", DOCKER_HOST: "ai"}
LONGEST_NAME = 4096  # characters of a path or a URL
MAX_SHOWN = 200
PATH_STARTS = ("./", "../", "/", "~/", ".\\", "..\\")
DRIVE = re.compile(r"[A-Za-z]:[\\/]")
HINT = "names look like guide, qwen3:0.6b, hf.co/owner/repo:Q4_K_M, ollama:llama3.2 or ./file.gguf"


def parse_name(text: str) -> ModelRef:
    """Parse a model name.

    Raises:
        ModelNameError: the text is not a name, or too long.
    """
    if len(text) > LONGEST_NAME:
        raise _too_long(text)
    location = _location(text)
    if location is not None:
        return location
    body, digest, revision = _split_ends(text)
    host, body = _split_prefix(body)
    *folders, last = body.split("/")
    if host is None and folders and _is_host(folders):
        host, *folders = folders
    if host is not None:
        host = SAME_HOSTS.get(host, host)
    if host in HUBS and len(folders) > 1:
        return _file_in_repo(text, host, [*folders, last], revision, digest)
    model, colon, tag = last.partition(":")
    namespace = "/".join(folders) if folders else DEFAULT_NAMESPACES.get(host or "")
    ref = ModelRef(
        model=model,
        tag=tag if colon else DEFAULT_TAG,
        namespace=namespace,
        host=host,
        revision=revision,
        digest=digest,
    )
    return _checked(ref, text)


def local_path(text: str) -> Path:
    """Return the path that a text means; ``~`` is a home folder. The path need not exist.

    Raises:
        ModelNotFoundError: no file can have this path: it is too long, or its user is unknown.
    """
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:
        raise _no_path(text, "the home folder is not known") from error
    try:
        os.stat(path)  # noqa: PTH116 - only for its errors
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise _no_path(text, "the path is too long") from error
    except ValueError as error:
        raise _no_path(text, "no path can hold its characters") from error
    return path


def _location(text: str) -> ModelRef | None:
    """Return the reference of a URL or a path, or None for any other text."""
    if text.startswith(("http://", "https://")):
        page = parse_page(text)
        if isinstance(page, str):
            return parse_name(page)
        return _checked(page, text)
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    is_path = text in {".", ".."} or text.startswith(PATH_STARTS) or DRIVE.match(text)
    if not is_path and text.endswith(".gguf") and ":" not in text and text.count("/") == 0:
        text = f"./{text}"
        is_path = True
    if not is_path:
        return None
    if "\x00" in text:
        raise _no_name(text)
    return ModelRef(location=text)


def _split_ends(text: str) -> tuple[str, str | None, str | None]:
    """Split ``@sha256:...`` and ``@revision`` off the end."""
    body, digest, revision = text, None, None
    head, at, end = body.rpartition("@")
    if at and DIGEST.fullmatch(end):
        body, digest = head, end
        head, at, end = body.rpartition("@")
    if at:
        body, revision = head, end
    return body, digest, revision


def _split_prefix(body: str) -> tuple[str | None, str]:
    """Split a leading source, ``hf:`` or ``hf://``, off the name, and return its host."""
    prefix, colon, name = body.partition(":")
    if not colon or prefix.lower() not in PREFIXES:
        return None, body
    host = PREFIXES[prefix.lower()]
    name = name.removeprefix("//")
    if host:
        return host, name
    host, _, name = name.partition("/")
    return host, name


def _is_host(folders: list[str]) -> bool:
    """Return whether the first folder is a host: always with three parts, with two by its form."""
    return len(folders) > 1 or looks_like_host(folders[0])


def _file_in_repo(
    text: str, host: str, parts: list[str], revision: str | None, digest: str | None
) -> ModelRef:
    """Parse owner/repo/folder/file."""
    owner, repo, *path = parts
    file = "/".join(path)
    is_bad = not FILE.fullmatch(file) or any(part in {"", ".", ".."} for part in path)
    if is_bad:
        raise _no_name(text)
    ref = ModelRef(
        model=repo, namespace=owner, host=host, file=file, revision=revision, digest=digest
    )
    return _checked(ref, text)


def _checked(ref: ModelRef, text: str) -> ModelRef:
    if ref.location is not None:
        return ref
    parts = [ref.model, ref.tag, *("x" if ref.namespace is None else ref.namespace).split("/")]
    is_hub = ref.host in HUBS
    if (
        not all(PART.fullmatch(part) for part in parts)
        or (ref.host is not None and not HOST.fullmatch(ref.host))
        or (ref.namespace is None and (is_hub or _is_reserved(ref)))
        or (ref.host is None and "/" in (ref.namespace or ""))
        or (ref.revision is not None and not (is_hub and REVISION.fullmatch(ref.revision)))
    ):
        raise _no_name(text)
    if any(len(part.encode(errors=ANY_PATH)) > LONGEST_PART for part in _components(ref)):
        raise _too_long(text)
    return ref


def _components(ref: ModelRef) -> list[str]:
    """Return the parts that must fit a file name; a hub's file may be in folders."""
    parts = (ref.host, ref.namespace, ref.model, ref.tag, ref.revision)
    return [*filter(None, parts), *(ref.file or "").split("/")]


def _is_reserved(ref: ModelRef) -> bool:
    """Return whether the name alone would be parsed as a source prefix."""
    return ref.host is None and ref.model.lower() in PREFIXES


def _no_name(text: str) -> ModelNameError:
    return ModelNameError(f"not a model name: {text[:MAX_SHOWN]!r}", hint=HINT)


def _too_long(text: str) -> ModelNameError:
    return ModelNameError(f"the model name is too long: {text[:MAX_SHOWN]!r}...", hint=HINT)


def _no_path(text: str, why: str) -> ModelNotFoundError:
    return ModelNotFoundError(f"no such file: {text[:MAX_SHOWN]!r}: {why}", hint="localrun list")
