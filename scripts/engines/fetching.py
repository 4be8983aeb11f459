"""HTTP for wheels: index pages, digests and files, each with limits of size and time.

A page of an index is a list of links (PEP 503):

    <a href="https://host/llama_cpp_python-0.3.36-py3-none-linux_x86_64.whl#sha256=...">...</a>

Plain http is used only for this machine itself, or for a file whose digest is known: anyone on the
way could change the bytes, and a digest of the same page too.
"""

from __future__ import annotations

import hashlib
import http.client
import queue
import re
import threading
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import Message
    from pathlib import Path
    from typing import IO

PAGE_S = 4.0  # for a whole page; an index that hangs costs no more
STALL_S = 20.0  # without any byte of a file
CHUNK_BYTES = 1 << 16
PAGE_BYTES = 8 * 1024 * 1024
FILE_BYTES = 4 * 1024**3
HEX_DIGEST = re.compile(r"[0-9a-fA-F]{64}")
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
PROBLEMS = (OSError, http.client.HTTPException, ValueError)


class WheelError(Exception):
    """A wheel that cannot be had or used; the text has the reason."""


@dataclass(frozen=True)
class Link:
    """A file that an index page lists."""

    url: str  # without its fragment
    sha256: str | None

    @property
    def name(self) -> str:
        return urllib.parse.unquote(urllib.parse.urlsplit(self.url).path.rpartition("/")[2])


def split_digest(url: str) -> Link:
    """Return a link, with the digest in the URL's fragment if it has one.

    Raises:
        WheelError: the fragment is another one.
    """
    plain, _, fragment = url.partition("#")
    if not fragment:
        return Link(plain, None)
    algorithm, _, digest = fragment.partition("=")
    if algorithm != "sha256" or not HEX_DIGEST.fullmatch(digest):
        raise WheelError(f"{url} has no sha256 digest after the #")
    return Link(plain, digest.lower())


def is_trusted(url: str) -> bool:
    """Return whether nobody on the way can change what the URL returns."""
    parts = urllib.parse.urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)


def read_page(url: str, headers: dict[str, str] | None = None) -> str:
    """Return the text of a page; blocks for `PAGE_S` at most.

    Raises:
        WheelError: the server did not return the page in time.
    """
    results: queue.SimpleQueue[str | WheelError] = queue.SimpleQueue()

    def read() -> None:
        try:
            data = b"".join(_chunks(url, PAGE_S, PAGE_BYTES, headers))
            results.put(data.decode(errors="replace"))
        except WheelError as error:
            results.put(error)

    # looking up a name has no timeout of its own, and bytes may come one by one
    threading.Thread(target=read, daemon=True).start()
    try:
        result = results.get(timeout=PAGE_S)
    except queue.Empty:
        raise WheelError(f"{url} cannot be read: no answer within {PAGE_S:g} s") from None
    if isinstance(result, WheelError):
        raise result
    return result


def read_links(url: str) -> list[Link]:
    """Return the files that an index page lists.

    Raises:
        WheelError: the server did not return the page in time.
    """
    parser = _Anchors()
    parser.feed(read_page(url))
    links = []
    for target in parser.targets:
        plain, _, fragment = urllib.parse.urljoin(url, target).partition("#")
        digest = fragment.removeprefix("sha256=").lower()
        links.append(Link(plain, digest if HEX_DIGEST.fullmatch(digest) else None))
    return links


def download(link: Link, folder: Path) -> Path:
    """Download a file into the folder; it gets its name only if size and digest are right.

    Raises:
        WheelError: the server failed, or the file has another digest.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / link.name
    partial = target.with_name(f"{link.name}.partial")
    digest = hashlib.sha256()
    try:
        with partial.open("wb") as out:
            for chunk in _chunks(link.url, STALL_S, FILE_BYTES):
                digest.update(chunk)
                out.write(chunk)
        if link.sha256 not in {None, digest.hexdigest()}:
            raise WheelError(
                f"{link.url} has the digest {digest.hexdigest()}, not {link.sha256}: not installed"
            )
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def _chunks(
    url: str, timeout_s: float, max_bytes: int, headers: dict[str, str] | None = None
) -> Iterator[bytes]:
    """Yield the bytes of an answer, whose length must be the announced one."""
    opener = urllib.request.build_opener(_SafeRedirects)
    try:
        with opener.open(
            urllib.request.Request(url, headers=headers or {}), timeout=timeout_s
        ) as body:
            announced, count = body.headers.get("Content-Length"), 0
            while chunk := body.read1(CHUNK_BYTES):
                count += len(chunk)
                if count > max_bytes:
                    raise WheelError(f"{url} is larger than {max_bytes} bytes")
                yield chunk
    except urllib.error.HTTPError as error:
        error.close()
        raise WheelError(f"{url}: HTTP {error.code} {error.reason}") from error
    except PROBLEMS as error:
        reason = getattr(error, "reason", None) or str(error) or type(error).__name__
        raise WheelError(f"{url} cannot be read: {reason}") from error
    if announced is not None and count != int(announced):
        raise WheelError(f"{url} ended after {count} of {announced} bytes")


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Redirects, but none from a trusted address to plain http."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Message,
        newurl: str,
    ) -> urllib.request.Request | None:
        if is_trusted(req.full_url) and not is_trusted(newurl):
            fp.close()
            raise WheelError(f"{req.full_url} redirects to {newurl}, which is not secure")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Anchors(HTMLParser):
    """Targets of the links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.targets += [value for name, value in attrs if name == "href" and value]
