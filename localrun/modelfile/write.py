"""A recipe to text that reads back as the same recipe.

In Ollama's own syntax wherever it can say it. What it cannot: text with a line that
ends in three quotes and is not the last (``quoting.as_block``), a scale of an adapter.
Ollama's reader drops what does not print, however it is written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.errors import UsageError
from localrun.modelfile.known import KNOWN
from localrun.modelfile.parameters import format_parameter
from localrun.modelfile.quoting import as_block, in_quotes, is_plain, trim_invisible
from localrun.modelfile.recipe import ends_with_number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.modelfile.parameters import ParameterValue
    from localrun.modelfile.recipe import AdapterUse, Recipe


def write_modelfile(recipe: Recipe) -> str:
    """Return the text of a recipe.

    Raises:
        UsageError: a text holds NUL or half a character, which no file can say.
    """
    text = "".join(f"{line}\n" for line in _lines(recipe))
    if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise UsageError("the recipe holds text that is not Unicode")
    return text


def _lines(recipe: Recipe) -> Iterator[str]:
    yield from (_named("FROM", source) for source in recipe.sources)
    yield from (_adapter(adapter) for adapter in recipe.adapters)
    if recipe.draft is not None:
        yield _named("DRAFT", recipe.draft)
    if recipe.template is not None:
        yield _text("TEMPLATE", recipe.template)
    if recipe.system is not None:
        yield _text("SYSTEM", recipe.system)
    for keyword, name in (
        ("RENDERER", recipe.renderer),
        ("PARSER", recipe.parser),
        ("REQUIRES", recipe.requires),
    ):
        if name is not None:
            yield _named(keyword, name)
    yield from (_parameter(name, value) for name, value in recipe.parameters)
    yield from (_text(f"MESSAGE {each.role}", each.content) for each in recipe.messages)
    yield from (_text("LICENSE", text) for text in recipe.licenses)


def _text(head: str, text: str, *, is_plain_allowed: bool = True) -> str:
    written = text if is_plain_allowed and is_plain(text) else in_quotes(text)
    return f"{head}{as_block(text)}" if written is None else f"{head} {written}"


def _named(head: str, name: str) -> str:
    """Return the line of a name or path, whose ends are trimmed where it is plain."""
    return _text(head, name, is_plain_allowed=name == trim_invisible(name))


def _adapter(adapter: AdapterUse) -> str:
    path = adapter.path
    is_bare = is_plain(path) and path == trim_invisible(path) and not ends_with_number(path)
    has_newline = "\r" in path or "\n" in path
    if adapter.scale == 1 and not ('"' in path and has_newline):  # a line of it may look scaled
        return _text("ADAPTER", path, is_plain_allowed=is_bare)
    if is_bare:
        return f"ADAPTER {path} {adapter.scale}"
    if '"' in path or has_newline:
        return f"ADAPTER{as_block(path, f' {adapter.scale}')}"
    return f'ADAPTER "{path}" {adapter.scale}'


def _parameter(name: str, value: ParameterValue) -> str:
    is_text = KNOWN[name].kind in {"string", "list", "duration"}
    return _text(f"PARAMETER {name}", str(value) if is_text else format_parameter(value))
