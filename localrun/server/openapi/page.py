"""OpenAPI description of the chat page, and of the routes that describe models and machine."""

from __future__ import annotations

from localrun.server.management.routes import LINT
from localrun.server.openapi.operation import Operation, operation
from localrun.server.parsing.json_schema import COUNT, FLAG, OBJECT, TEXT, listed, record
from localrun.server.rendering.routes import RENDER

FORM = {"type": "object", "properties": {"key": TEXT}, "required": ["key"]}


def operations() -> dict[str, Operation]:
    """Return the operations by method and path."""
    block = record({"line": COUNT, "html": TEXT})
    rendered = record({"blocks": listed(block)})
    return {
        "GET /web/{file}": _file("Return a file of the chat page", "text/javascript"),
        "GET /login": _file(
            "Return the login page; without API keys, go to the page", "text/html", "text/plain"
        ),
        "POST /login": _login(),
        "POST /logout": _redirect("End the session of a browser"),
        "POST /api/localrun/render": operation(
            "Render texts in Markdown as blocks of HTML",
            body=RENDER,
            answer=record({"results": listed(rendered)}),
        ),
        "GET /api/localrun/parameters": operation(
            "List the parameters of requests to a model, with the source of each value",
            answer=record(
                {"model": TEXT, "recipe": TEXT, "system": TEXT, "parameters": listed(OBJECT)}
            ),
        ),
        "GET /api/localrun/plan": operation(
            "Plan the memory of a model, here or elsewhere",
            answer=record({"name": TEXT, "summary": TEXT, "fits": FLAG, "devices": listed(OBJECT)}),
        ),
        "GET /api/localrun/search": operation(
            "Search the hubs for models",
            answer=record({"hits": listed(OBJECT), "problems": listed(TEXT)}),
        ),
        "POST /api/localrun/lint": operation(
            "List the problems of a recipe",
            body=LINT,
            answer=record({"problems": listed(OBJECT)}),
        ),
        "GET /api/localrun/doctor": operation(
            "Check the installation", answer=record({"findings": listed(OBJECT)})
        ),
        "GET /api/localrun/machine": operation(
            "List the devices with their memory", answer=record({"devices": listed(OBJECT)})
        ),
        "GET /api/localrun/log": operation(
            "Return the last lines of the log", answer=record({"lines": listed(TEXT)})
        ),
        "POST /api/localrun/presence": operation(
            "Report that a page is in use", answer=record({"status": TEXT})
        ),
    }


def _file(summary: str, *media_types: str) -> Operation:
    described = operation(summary)
    content = {media_type: {"schema": TEXT} for media_type in media_types}
    described["responses"]["200"]["content"] = content
    return described


def _redirect(summary: str) -> Operation:
    described = operation(summary, status=303)
    described["responses"]["303"]["description"] = "the address to go to"
    return described


def _login() -> Operation:
    described = _redirect("Begin a session of a browser, with the API key of a form")
    form = {"application/x-www-form-urlencoded": {"schema": FORM}}
    described["requestBody"] = {"required": True, "content": form}
    return described
