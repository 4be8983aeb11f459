"""Files of the page: HTML, CSS and ES modules beside this module, read at the first request.

All headers of the page are here. The policy lets it load, run and ask nothing but this server's
own files and APIs; HTML may only be set through the page's one Trusted Types policy.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.requests import Request

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; "
    "require-trusted-types-for 'script'; trusted-types localrun"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-cache",  # asked for each time, and answered by 304 if nothing changed
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",  # no-referrer would hide the origin of the login form
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
NOT_MODIFIED = 304
MODULES = b"  <!-- modules -->\n"  # in the page: loads that need not wait for the imports of others
SHOWN_LATER = frozenset({"models.js", "machine.js"})  # imported when their view is shown


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file as it is sent."""

    content: bytes
    media_type: str
    etag: str


@cache
def page_files() -> dict[str, PageFile]:
    """Return all files by name; blocks while the first call reads them."""
    paths = {path.name: path for path in resources.files(__package__).iterdir()}
    preloads = [
        f'  <link rel="modulepreload" href="/web/{name}">\n'
        for name in sorted(paths)
        if name.endswith(".js") and name not in SHOWN_LATER
    ]
    files = {}
    for name, path in paths.items():
        suffix = name[name.rfind(".") :]
        if suffix in TYPES:
            content = path.read_bytes().replace(MODULES, "".join(preloads).encode())
            etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            files[name] = PageFile(content, TYPES[suffix], etag)
    return files


def file_response(request: Request, file: PageFile, status: int = 200) -> Response:
    """Return the response with a file, or 304 if the client has it."""
    headers = {**HEADERS, "ETag": file.etag}
    known = request.headers.get("if-none-match", "")
    if status == 200 and file.etag in [tag.strip() for tag in known.split(",")]:  # noqa: PLR2004
        return Response(status_code=NOT_MODIFIED, headers=headers)
    return Response(file.content, status, headers, media_type=file.media_type)
