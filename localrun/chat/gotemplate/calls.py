"""Calling order of the named templates of a Go template; recursion is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.chat.gotemplate.lexer import GoTemplateError, TemplatePosition
from localrun.chat.gotemplate.tree import If, Range, TemplateCall, With

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.chat.gotemplate.tree import Node, Template

MAX_TEMPLATES = 64


def in_calling_order(template: Template) -> list[str]:
    """Return the names of the templates, each behind those that it calls.

    Raises:
        GoTemplateError: a template is not defined or calls itself, or there are too many.
    """
    if len(template.defined) > MAX_TEMPLATES:
        raise GoTemplateError(
            f"it defines more than {MAX_TEMPLATES} templates", TemplatePosition(1, 1)
        )
    order: list[str] = []
    for call in _calls(template.body):
        _check(call, template)
    for name in template.defined:
        _visit(name, template, order, ())
    return order


def _visit(name: str, template: Template, order: list[str], callers: tuple[str, ...]) -> None:
    if name in order:
        return
    for call in _calls(template.defined[name]):
        _check(call, template)
        if call.name in (*callers, name):
            raise GoTemplateError(f"the template {call.name!r} calls itself", call.position)
        _visit(call.name, template, order, (*callers, name))
    order.append(name)


def _check(call: TemplateCall, template: Template) -> None:
    if call.name not in template.defined:
        raise GoTemplateError(f"the template {call.name!r} is not defined", call.position)


def _calls(nodes: tuple[Node, ...]) -> Iterator[TemplateCall]:
    for node in nodes:
        if isinstance(node, TemplateCall):
            yield node
        elif isinstance(node, If | With | Range):
            yield from _calls(node.body)
            yield from _calls(node.orelse)
