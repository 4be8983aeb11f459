"""Edits of YAML that keep comments, order, quotes and the indentation of lists.

The library writes the whole file again. The style of its lists is found by trying: the first style
in which the unedited file comes back byte by byte is used.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from localrun.errors import UsageError
from localrun.integrations.edits import Edit, Item, applied, empty_root, is_same, shape_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ruamel.yaml import YAML

    from localrun.integrations.edits import Json

STYLES = ((2, 4, 2), (2, 2, 0), (4, 4, 2), (4, 6, 4), (4, 4, 0))  # mapping, sequence, offset
NO_FOLDING = 1_000_000  # characters of a line


class YamlError(UsageError):
    """The text is not one YAML document."""


def edited_yaml(text: str, edits: Sequence[Edit]) -> str:
    """Return the text with the edits.

    Raises:
        YamlError: the text is malformed.
        ShapeError: a part of a path is not an object or a list.
    """
    before = decoded_yaml(text)
    if is_same(applied(before, edits), before):
        return text
    yaml = _yaml_in_style_of(text)
    root = _loaded(yaml, text)
    for edit in edits:
        root = empty_root(edit.path) if root is None else root
        _edit(root, edit)
    written = _dumped(yaml, root)
    if before is None:
        return _comments(text) + written
    return written if text.endswith("\n") else written.removesuffix("\n")


def decoded_yaml(text: str) -> Json:
    """Return the value of a text, None if it is empty.

    Raises:
        YamlError: the text is malformed.
    """
    from ruamel.yaml import YAML

    return _loaded(YAML(typ="safe", pure=True), text)  # type: ignore[no-any-return]


def _yaml_in_style_of(text: str) -> YAML:
    styles = [_yaml(*style) for style in STYLES]
    for yaml in styles:
        if _dumped(yaml, _loaded(yaml, text)) == text:
            return yaml
    return styles[0]


def _yaml(mapping: int, sequence: int, offset: int) -> YAML:
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = NO_FOLDING
    yaml.indent(mapping=mapping, sequence=sequence, offset=offset)
    return yaml


def _loaded(yaml: YAML, text: str) -> Any:  # noqa: ANN401 - ruamel's own types
    import warnings

    from ruamel.yaml.error import YAMLError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of anchors that are set twice
            return yaml.load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}: " if mark is not None else ""
        raise YamlError(f"{place}{getattr(error, 'problem', None) or 'not YAML'}") from error
    except (RecursionError, ValueError, TypeError) as error:
        raise YamlError("it cannot be read as YAML") from error


def _dumped(yaml: YAML, root: Any) -> str:  # noqa: ANN401 - as above
    if root is None:
        return ""
    out = io.StringIO()
    yaml.dump(root, out)
    return out.getvalue()


def _edit(root: Any, edit: Edit) -> None:  # noqa: ANN401 - as above
    here = root
    for depth, step in enumerate(edit.path):
        rest, path = edit.path[depth + 1 :], edit.path[:depth]
        key = _key_of(here, step, path)
        if key is None or not rest:
            _set(here, step, key, Edit(path=rest, value=edit.value, is_default=edit.is_default))
            return
        here = here[key]


def _key_of(here: Any, step: Any, path: Any) -> Any:  # noqa: ANN401 - as above
    from localrun.integrations.edits import find_item

    if isinstance(step, Item):
        if not isinstance(here, list):
            raise shape_error(path, "a list")
        return find_item(here, step)
    if not isinstance(here, dict):
        raise shape_error(path, "an object")
    return step if step in here else None


def _set(here: Any, step: Any, key: Any, edit: Edit) -> None:  # noqa: ANN401 - as above
    """Make the last part of an edit, whose path is what is missing behind ``step``."""
    from localrun.integrations.edits import element_of, new_value

    if key is None and isinstance(step, Item):
        here.append(element_of(step, edit.path, edit.value))
    elif key is None:
        here[step] = new_value(edit.path, edit.value)
    elif isinstance(here[key], dict) and isinstance(edit.value, dict):
        for name, value in edit.value.items():
            _edit(here[key], Edit(path=(name,), value=value, is_default=edit.is_default))
    elif not edit.is_default and not _equals(here[key], edit.value):
        here[key] = edit.value


def _equals(old: object, value: object) -> bool:
    """Return whether a value of the file, which has a type of the library, equals a plain one."""
    is_typed = isinstance(old, type(value)) and isinstance(old, bool) == isinstance(value, bool)
    return is_typed and old == value


def _comments(text: str) -> str:
    """Return the comments of a text that has nothing else."""
    return text if not text or text.endswith("\n") else f"{text}\n"
