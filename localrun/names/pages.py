"""URLs of model pages, as copied from a browser, converted to model names.

    https://huggingface.co/owner/repo/blob/main/file.gguf   hf.co/owner/repo/file.gguf@main
    https://modelscope.cn/models/owner/repo/summary         modelscope.cn/owner/repo
    https://ollama.com/library/llama3.2:3b                  registry.ollama.ai/library/llama3.2:3b
    https://hub.docker.com/r/ai/smollm2                     docker.io/ai/smollm2

Any other URL is the URL of a file.
"""

from __future__ import annotations

import re
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from localrun.addresses import public_address
from localrun.errors import ModelNameError
from localrun.names.ref import (
    DOCKER_HOST,
    HUGGINGFACE_HOST,
    MODELSCOPE_HOST,
    OLLAMA_HOST,
    ModelRef,
)

HUGGINGFACE_PAGES = {"huggingface.co", "hf.co", "www.huggingface.co"}
MODELSCOPE_PAGES = {"modelscope.cn", "www.modelscope.cn", "modelscope.ai", "www.modelscope.ai"}
OLLAMA_PAGES = {"ollama.com", "www.ollama.com", "registry.ollama.ai"}
DOCKER_PAGES = {"hub.docker.com"}
FILE_VIEWS = {"blob", "resolve", "raw"}
SHA256 = re.compile(r"sha256=([0-9a-fA-F]{64})", re.ASCII)
OWNER_AND_REPO = 2


def parse_page(url: str) -> ModelRef | str:
    """Return the model name of a page's URL, or the reference of a file's URL.

    Raises:
        ModelNameError: the URL is malformed, or a page of a known site without a model.
    """
    parts = _parts(url)
    host = (parts.hostname or "").lower()
    path = [unquote(part) for part in parts.path.split("/") if part]
    chosen = parse_qs(parts.query).get("show_file_info")
    if host in HUGGINGFACE_PAGES and len(path) >= OWNER_AND_REPO:
        return _hub_name(HUGGINGFACE_HOST, path, chosen)
    if host in MODELSCOPE_PAGES and len(path) >= OWNER_AND_REPO:
        return _hub_name(MODELSCOPE_HOST, path[1:] if path[0] == "models" else path, chosen)
    if host in OLLAMA_PAGES and path:
        return "/".join([OLLAMA_HOST, *(["library"] if len(path) == 1 else []), *path[:2]])
    if host in DOCKER_PAGES and len(path) > OWNER_AND_REPO and path[0] in {"r", "layers"}:
        return "/".join([DOCKER_HOST, *path[1:3]])
    return _file(url)


def _parts(url: str) -> SplitResult:
    """Split a URL; the error shows nothing that may be part of a password."""
    try:
        parts = urlsplit(url)
        is_address = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        is_address, parts = False, urlsplit("")
    if is_address and not re.search(r"[\x00-\x20\ud800-\udfff]", url):
        return parts
    if "@" in url:
        raise ModelNameError(
            "not an address, or its password has characters that must be encoded",
            hint="in a password write %2F for /, %3F for ?, %23 for # and %40 for @",
        )
    raise ModelNameError(f"not an address: {url[:200]!r}", hint="https://host/folder/file.gguf")


def _hub_name(host: str, path: list[str], chosen: list[str] | None) -> str:
    """Parse ``owner/repo[/tree/revision | /blob/revision/file | /file/view/revision/file]``."""
    name = "/".join([host, *path[:2]])
    view = path[2:]
    if view[:2] == ["file", "view"]:
        view = ["blob", *view[2:]]
    if len(view) > OWNER_AND_REPO and view[0] in FILE_VIEWS:
        return f"{name}/{'/'.join(view[2:])}@{view[1]}"
    revision = f"@{view[1]}" if len(view) > 1 and view[0] == "tree" else ""
    return f"{name}{f'/{chosen[0]}' if chosen else ''}{revision}"


def _file(url: str) -> ModelRef:
    """Parse the URL of a file and the digest after its ``#``.

    A login or a signature serves the download and is no part of the name.
    """
    address, _, fragment = url.partition("#")
    match = SHA256.fullmatch(fragment)
    if fragment and not match:
        shown = "the text after #" if "@" in fragment else f"#{fragment}"  # may be a password
        raise ModelNameError(
            f"not a digest: {shown}", hint="https://host/file.gguf#sha256=<64 hex digits>"
        )
    location = public_address(address)
    return ModelRef(
        location=location,
        digest=f"sha256:{match.group(1).lower()}" if match else None,
        full_address=address if address != location else None,
    )
