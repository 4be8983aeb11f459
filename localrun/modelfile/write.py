"""Writer of Modelfiles: from a recipe to text that parses to the same recipe.

The text is in Ollama's syntax wherever possible. Ollama's syntax cannot express text with three
quotes at the end of a line other than the last (``quoting.as_block``), nor an adapter's scale.
Ollama's parser drops unprintable characters in every form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.errors import UsageError
from localrun.modelfile.known import KNOWN
from localrun.modelfile.parameters import format_parameter
from localrun.modelfile.parse import ends_with_number
from localrun.modelfile.quoting import as_block, in_quotes, is_plain, trim_invisible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.modelfile.parameters import ParameterValue
    from localrun.modelfile.recipe import AdapterUse, Recipe


def write_modelfile(recipe: Recipe) -> str:
    """Return the Modelfile of a recipe.

    Raises:
        UsageError: a text contains NUL or a lone surrogate, which no file can contain.
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
    yield from (_text(f"MESSAGE {message.role}", message.content) for message in recipe.messages)
    yield from (_text("LICENSE", text) for text in recipe.licenses)


def _text(head: str, text: str, *, is_plain_allowed: bool = True) -> str:
    value = text if is_plain_allowed and is_plain(text) else in_quotes(text)
    return f"{head}{as_block(text)}" if value is None else f"{head} {value}"


def _named(head: str, name: str) -> str:
    """Return the line of a name or path; the parser trims plain ones."""
    return _text(head, name, is_plain_allowed=name == trim_invisible(name))


def _adapter(adapter: AdapterUse) -> str:
    path = adapter.path
    is_bare = is_plain(path) and path == trim_invisible(path) and not ends_with_number(path)
    has_newline = "\r" in path or "\n" in path
    if adapter.scale == 1 and not (
        '"' in path and has_newline
    ):  # its last line may look like a path with a scale
        return _text("ADAPTER", path, is_plain_allowed=is_bare)
    if is_bare:
        return f"ADAPTER {path} {adapter.scale}"
    if '"' in path or has_newline:
        return f"ADAPTER{as_block(path, f' {adapter.scale}')}"
    return f'ADAPTER "{path}" {adapter.scale}'


def _parameter(name: str, value: ParameterValue) -> str:
    is_text = KNOWN[name].kind in {"string", "list", "duration"}
    return _text(f"PARAMETER {name}", str(value) if is_text else format_parameter(value))
