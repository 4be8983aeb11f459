"""Requests of a batch: what each record of the input asks of the server.

Knows the bodies of OpenAI's endpoints, and no connection.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from localrun.batches.input_file import TEXT_FIELD, InputFormat
from localrun.batches.template import PromptTemplate, field_text
from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CHAT, EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"
ENDPOINTS = (CHAT, "/v1/completions", EMBEDDINGS, "/v1/responses")
PROMPT_FIELDS = ("prompt", TEXT_FIELD, "input", "question")  # looked for in this order
MESSAGES = "messages"
LONGEST_ID = 512
LEAST_SHARED = 128  # characters of a beginning that is worth sharing
SORTED_CHARACTERS = 400  # of a prompt, by which requests are ordered
TOKEN_LIMITS = {"/v1/responses": "max_output_tokens"}
NO_ANSWER = (EMBEDDINGS,)  # endpoints that generate nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestTemplate:
    """How requests are made from records."""

    model: str
    embeds: bool = False
    template: PromptTemplate | None = None
    column: str | None = None  # the field with the prompt, if there is no template
    system: str | None = None
    max_tokens: int | None = None
    schema: Mapping[str, Any] | None = None  # of the answers
    sampling: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRequest:
    """One request; ``custom_id`` is "" unless the record has one."""

    path: str
    body: dict[str, Any]
    custom_id: str = ""

    @property
    def content(self) -> bytes:
        """Return the body as bytes."""
        return json.dumps(self.body, separators=(",", ":")).encode()

    @property
    def beginning(self) -> str:
        """Return the beginning of the prompt: requests with the same one share its computation."""
        return prompt_beginning(self.body)


def prompt_beginning(body: Mapping[str, Any]) -> str:
    """Return the beginning of the prompt of a body, by which requests are ordered.

    That of a short prompt is "": too little is shared to change the order for it.
    """
    members = (body[name] for name in (MESSAGES, "prompt", "input") if name in body)
    texts = _texts(next(members, ""))
    beginning = "\n".join(text[:SORTED_CHARACTERS] for text in texts)[:SORTED_CHARACTERS]
    return beginning if len(beginning) >= LEAST_SHARED else ""


def make_request(
    form: InputFormat, fields: Mapping[str, Any], options: RequestTemplate
) -> BatchRequest:
    """Return the request of a record.

    Raises:
        UsageError: the record lacks what its format or the template asks for.
    """
    if form is InputFormat.OPENAI:
        return _openai_request(fields, options)
    if options.embeds:
        embedded = {"model": options.model, "input": _prompt(fields, options)}
        return BatchRequest(path=EMBEDDINGS, body=embedded)
    system = [{"role": "system", "content": options.system}] if options.system else []
    body = {
        "model": options.model,
        MESSAGES: [*system, *_messages(fields, options)],
        **_generation(CHAT, options),
    }
    return BatchRequest(path=CHAT, body=body)


def check_options(form: InputFormat, columns: tuple[str, ...], options: RequestTemplate) -> None:
    """Refuse options that no record of a file could honour.

    Raises:
        UsageError: the error names the option.
    """
    is_plain = form is not InputFormat.OPENAI
    given = {"--template": options.template, "--column": options.column, "--system": options.system}
    for option, value in given.items():
        if value is not None and not is_plain:
            raise UsageError(f"{option} has no effect on requests in OpenAI's form")
    if options.template is not None and options.column is not None:
        raise UsageError("--template and --column exclude each other")
    named = options.template.names if options.template else (options.column,)
    if form is InputFormat.TEXT:
        _check_line_fields(named)
    if columns:
        _check_columns(columns, named)


def _check_columns(columns: tuple[str, ...], named: tuple[str | None, ...]) -> None:
    for name in named:
        if name is not None and name not in columns:
            raise UsageError(
                f"there is no column {name!r}", hint=f"the columns are {', '.join(columns[:50])}"
            )
    if not any(name in columns for name in (*named, *PROMPT_FIELDS)) and len(columns) > 1:
        raise UsageError(
            f"none of the columns {', '.join(columns[:50])} is known as the prompt",
            hint='--column NAME, or --template "Classify: {NAME}"',
        )


def _check_line_fields(names: Iterable[str | None]) -> None:
    for name in names:
        if name not in {None, TEXT_FIELD}:
            raise UsageError(
                f"a line of text has no field {name!r}, only {TEXT_FIELD!r}",
                hint="--input-format csv, tsv or jsonl, if the input is such",
            )


def _openai_request(fields: Mapping[str, Any], options: RequestTemplate) -> BatchRequest:
    custom_id, path, body = fields.get("custom_id"), fields.get("url"), fields.get("body")
    if not isinstance(custom_id, str) or not 0 < len(custom_id) <= LONGEST_ID:
        raise UsageError(f"custom_id must be a text of 1 to {LONGEST_ID} characters")
    if fields.get("method", "POST") != "POST":
        raise UsageError("method must be POST")
    if path not in ENDPOINTS:
        raise UsageError(f"url must be one of {', '.join(ENDPOINTS)}")
    if not isinstance(body, dict):
        raise UsageError("body must be an object")
    if body.get("stream"):
        raise UsageError("an answer in a batch cannot be streamed")
    generation = {} if path in NO_ANSWER else _generation(path, options)
    return BatchRequest(
        path=path, body={**body, "model": options.model, **generation}, custom_id=custom_id
    )


def _generation(path: str, options: RequestTemplate) -> dict[str, Any]:
    """Return the members of a body that the options set."""
    members = dict(options.sampling)
    if options.max_tokens is not None:
        members[TOKEN_LIMITS.get(path, "max_tokens")] = options.max_tokens
    if options.schema is None:
        return members
    schema = {"name": "answer", "schema": dict(options.schema), "strict": True}
    if path == "/v1/responses":
        return {**members, "text": {"format": {"type": "json_schema", **schema}}}
    return {**members, "response_format": {"type": "json_schema", "json_schema": schema}}


def _messages(fields: Mapping[str, Any], options: RequestTemplate) -> list[Any]:
    own = fields.get(MESSAGES)
    if isinstance(own, list) and options.template is None and options.column is None:
        return own
    return [{"role": "user", "content": _prompt(fields, options)}]


def _prompt(fields: Mapping[str, Any], options: RequestTemplate) -> str:
    if options.template is not None:
        return options.template.fill(fields)
    if options.column is not None:
        return field_text(fields, options.column)
    for name in PROMPT_FIELDS:
        if name in fields:
            return field_text(fields, name)
    if len(fields) == 1:
        return field_text(fields, next(iter(fields)))
    raise UsageError(f"the record has none of the fields {', '.join((MESSAGES, *PROMPT_FIELDS))}")


def _texts(prompt: object) -> list[str]:
    """Return the texts of a prompt: its own, or those of its first messages."""
    if isinstance(prompt, str):
        return [prompt]
    if not isinstance(prompt, list):
        return []
    found = [each.get("content") if isinstance(each, dict) else each for each in prompt[:8]]
    return [text for text in found if isinstance(text, str)]
