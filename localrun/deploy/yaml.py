"""YAML of JSON-safe values: dicts, lists, texts, numbers and booleans, and nothing else.

Whatever a reader of YAML 1.1 or 1.2 could take for a number, a time or a truth value is quoted, so
that all read the same. Keys keep their order, and texts of several lines are blocks.
"""

from __future__ import annotations

import functools
import io
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

WIDTH = 10_000  # no line is folded: a folded text is harder to review
PLAIN = re.compile(r"[\x20-\x7e]*+")
BLOCK = re.compile(r"[!-~](?:[ -~]*+\n)++")  # lines of plain text
OTHER_VALUES = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}


def yaml_text(value: Mapping[str, Any]) -> str:
    """Return one document as YAML.

    Raises:
        TypeError: a value is not JSON-safe.
    """
    from ruamel.yaml import YAML

    writer = YAML(typ="safe", pure=True)
    writer.Representer = _representer()
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment] # keep the order
    writer.width = WIDTH
    writer.indent(mapping=2, sequence=4, offset=2)
    out = io.StringIO()
    writer.dump(_checked(value), out)
    return out.getvalue()


@functools.cache
def _representer() -> Any:  # noqa: ANN401 - a class of a package that is imported late
    """Return the class that writes texts."""
    from ruamel.yaml.representer import SafeRepresenter

    class Representer(SafeRepresenter):
        """Representer that quotes texts by `_style`."""

    def write(representer: Any, text: str) -> Any:  # noqa: ANN401 - of ruamel
        return representer.represent_scalar("tag:yaml.org,2002:str", text, style=_style(text))

    Representer.add_representer(str, write)
    return Representer


def _style(text: str) -> str | None:
    """Return the quotes of a text, None if it needs none."""
    if BLOCK.fullmatch(text):
        return "|"
    is_other = not text or text[0] in "0123456789+-.=~<" or text.lower() in OTHER_VALUES
    return None if PLAIN.fullmatch(text) and not is_other else '"'


def _checked(value: object) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return {_key(name): _checked(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_checked(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"{type(value).__name__} is no JSON")


def _key(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"a key is a text, not {name!r}")
    return name
