"""Constructors of OpenAPI operations, and the components that field tables make.

Requests come from the tables of their parsers; responses are described by hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localrun.server.parsing.json_schema import Schema, ref

if TYPE_CHECKING:
    from localrun.server.parsing.table import Table

Operation = dict[str, Any]


def components(*tables: Table) -> dict[str, Schema]:
    """Return the schemas of tables that are components."""
    return {table.component: table.schema() for table in tables if table.component is not None}


def operation(
    summary: str,
    *,
    body: Table | None = None,
    answer: Schema | None = None,
    stream: str | None = None,
    errors: str = "Error",
    status: int = 200,
) -> Operation:
    """Return an operation on JSON; ``stream`` is the media type of a streamed response."""
    content: Schema = {} if answer is None else json_content(answer)
    if stream is not None:
        content[stream] = {}  # OpenAPI 3.1 cannot describe several documents
    success: Schema = {"description": "success"}
    if content:
        success["content"] = content
    failure = {"description": "an error", "content": json_content(ref(errors))}
    description: Operation = {
        "summary": summary,
        "responses": {str(status): success, "4XX": failure, "5XX": failure},
    }
    if body is not None:
        description["requestBody"] = {"required": True, "content": json_content(body.reference())}
    return description


def json_content(schema: Schema) -> Schema:
    """Return the content of a JSON body."""
    return {"application/json": {"schema": schema}}
