"""Routes of the chat page: its files, login and logout.

GET  /web/{file}   a file of the page; the page itself is the answer to a browser at ``/``
GET  /login        the login page of a server with API keys
POST /login        a form with the field ``key``: sets the cookie of a session
POST /logout       ends the session

Without a key there is no cookie. `localrun.server.middleware.sessions` describes the cookie.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from localrun.errors import BodyTooLargeError
from localrun.server.middleware.sessions import is_own_page, session_cookie
from localrun.server.routing.routes import Routes
from localrun.server.web.files import HEADERS, PageFile, file_response, page_files

if TYPE_CHECKING:
    from localrun.server.middleware.sessions import Sessions

PAGE, LOGIN = "index.html", "login.html"
SEE_OTHER, UNAUTHORIZED, FORBIDDEN, MISSING = 303, 401, 403, 404
LONGEST_FORM = 8192  # bytes
FAILURE = b'<p role="alert" hidden>'
SESSION = b'<form id="session" method="post" action="/logout" hidden>'


def web_routes(*, has_page: bool) -> Routes:
    """Return the router; without the page it has no route."""
    router = Routes()
    if not has_page:
        return router

    _declare_files(router)
    _declare_login(router)
    return router


def _declare_files(router: Routes) -> None:
    @router.get("/web/{file}")
    async def page_file(request: Request, file: str) -> Response:
        found = (await asyncio.to_thread(page_files)).get(file)
        if found is None or file.endswith(".html"):
            raise HTTPException(MISSING, "there is no such file")
        return file_response(request, found)


def _declare_login(router: Routes) -> None:
    @router.get("/login")
    async def show_login(request: Request) -> Response:
        if not request.state.needs_api_key:
            return _redirect("/")
        return await _login_page(request)

    @router.post("/login")
    async def log_in(request: Request) -> Response:
        headers = dict(request.scope["headers"])
        if not is_own_page("POST", headers):
            raise HTTPException(FORBIDDEN, "only the login page of this server may log in")
        key = await _key_of_form(request)
        sessions: Sessions = request.state.sessions
        token = sessions.open(key)
        if token is None:
            return await _login_page(request, has_failed=True)
        response = _redirect("/")
        is_secure = request.url.scheme == "https"
        response.headers["set-cookie"] = session_cookie(headers, token, is_secure=is_secure)
        return response

    @router.post("/logout")
    async def log_out(request: Request) -> Response:
        response = _redirect("/login")
        headers = dict(request.scope["headers"])
        is_secure = request.url.scheme == "https"
        response.headers["set-cookie"] = session_cookie(headers, "", is_secure=is_secure)
        return response


async def home(request: Request) -> Response:
    """Return the page, or the login page if the request needs a session and has none."""
    if request.state.needs_api_key and not request.state.has_api_key:
        return await _login_page(request)
    page = (await asyncio.to_thread(page_files))[PAGE]
    return file_response(request, _shown(page, SESSION) if request.state.needs_api_key else page)


async def _login_page(request: Request, *, has_failed: bool = False) -> Response:
    page = (await asyncio.to_thread(page_files))[LOGIN]
    if not has_failed:
        return file_response(request, page)
    return file_response(request, _shown(page, FAILURE), UNAUTHORIZED)


def _shown(page: PageFile, element: bytes) -> PageFile:
    """Return the page with an element that is hidden in its file."""
    content = page.content.replace(element, element.replace(b" hidden", b""))
    return PageFile(content, page.media_type, page.etag.replace('"', '"shown-', 1))


async def _key_of_form(request: Request) -> str:
    """Return the field ``key`` of the form.

    Raises:
        BodyTooLargeError: the form is too large for a key.
    """
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST_FORM:
            raise BodyTooLargeError(f"the form is larger than {LONGEST_FORM} bytes")
    fields = parse_qs(body.decode("latin-1"), max_num_fields=10)
    return fields.get("key", [""])[0].strip()


def _redirect(address: str) -> Response:
    return Response(status_code=SEE_OTHER, headers={**HEADERS, "Location": address})
