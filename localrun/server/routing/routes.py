"""Routes of one API: what FastAPI's router declares, served by Starlette alone.

    router = Routes("/v1/models")

    @router.get("/{name:path}")
    async def show_model(request: Request, name: str) -> Response: ...

The parameters of a handler are the request, the parts of the path by name, and the text values of
the query by name. Importing FastAPI takes longer than the rest of the server's start, so only
`openapi.document` imports it, and describes the same handlers with it.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute

from localrun.errors import UsageError

REQUEST = "request"
Handler = Callable[..., Awaitable[Response]]
Declare = Callable[[Handler], Handler]


class Route(StarletteRoute):
    """One method of one path."""

    def __init__(self, method: str, path: str, handler: Handler) -> None:
        super().__init__(path, _responder(handler), methods=[method])
        self.method = method
        self.handler = handler
        self.methods = {method}  # Starlette adds HEAD to GET


class Routes:
    """Routes below a prefix, in the order of their declaration."""

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self.declared: list[Route] = []

    def get(self, path: str) -> Declare:
        """Return a decorator that declares a handler of GET."""
        return self._declaring("GET", path)

    def head(self, path: str) -> Declare:
        """Return a decorator that declares a handler of HEAD."""
        return self._declaring("HEAD", path)

    def post(self, path: str) -> Declare:
        """Return a decorator that declares a handler of POST."""
        return self._declaring("POST", path)

    def delete(self, path: str) -> Declare:
        """Return a decorator that declares a handler of DELETE."""
        return self._declaring("DELETE", path)

    def _declaring(self, method: str, path: str) -> Declare:
        def declare(handler: Handler) -> Handler:
            self.declared.append(Route(method, self._prefix + path, handler))
            return handler

        return declare


def _responder(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """Return the handler with its arguments taken from the request."""
    parameters = tuple(inspect.signature(handler).parameters.values())

    async def respond(request: Request) -> Response:
        arguments = {parameter.name: _argument(request, parameter) for parameter in parameters}
        return await handler(**arguments)

    return respond


def _argument(request: Request, parameter: inspect.Parameter) -> object:
    """Return the value of a handler's parameter.

    Raises:
        UsageError: the query lacks a parameter that has no default.
    """
    name = parameter.name
    if name == REQUEST:
        return request
    value = request.path_params.get(name, request.query_params.get(name, parameter.default))
    if value is inspect.Parameter.empty:
        raise UsageError(f"{name} is wrong: Field required", param=name)
    return value
