"""Edits of a configuration: values at paths, independent of the file's format.

    Edit(path=("provider", "localrun"), value={"name": "localrun"})
    Edit(path=("models", Item("name", "localrun chat")), value={"provider": "openai"})

A step of a path is a key of an object, or an `Item`: the element of a list whose field has a value.
An object is merged into an existing one key by key; any other value replaces what is there. A
missing part of the path is created, a missing item is appended. Invariant: nothing but the named
values changes, and an edit that was made already changes nothing.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


@dataclass(frozen=True, slots=True)
class Item:
    """Element of a list: the object whose ``field`` is ``value``."""

    field: str
    value: str


Step: TypeAlias = "str | Item"


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A value at a path; with ``is_default``, only if nothing is there."""

    path: tuple[Step, ...]
    value: Json
    is_default: bool = False


class ShapeError(UsageError):
    """A part of the path exists with another type than the edit needs."""


def shape_error(path: Sequence[Step], wanted: str) -> ShapeError:
    """Return the error for a value of another type at a path."""
    return ShapeError(f"{path_text(path)} is not {wanted}")


def path_text(path: Sequence[Step]) -> str:
    """Return a path for people: models[name=localrun].apiBase."""
    text = ""
    for step in path:
        if isinstance(step, Item):
            text += f"[{step.field}={step.value}]"
        else:
            text += f".{step}" if text else step
    return text or "the file"


def is_same(one: object, other: object) -> bool:
    """Return whether two decoded values are equal, where true is not 1 and NaN is NaN."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    return type(one) is type(other) and (one == other or repr(one) == repr(other))


def applied(value: Json, edits: Sequence[Edit]) -> Json:
    """Return a copy of a value with the edits; the file formats are checked against it.

    Raises:
        ShapeError: a part of a path is not an object or a list.
    """
    result = copy.deepcopy(value)
    for edit in edits:
        if result is None:
            result = empty_root(edit.path)
        _apply(result, edit)
    return result


def empty_root(path: Sequence[Step]) -> Json:
    """Return the empty container that the first step of a path needs."""
    return [] if path and isinstance(path[0], Item) else {}


def find_item(elements: Sequence[object], item: Item) -> int | None:
    """Return the index of the item in a list, None if it is not there."""
    for index, element in enumerate(elements):
        if isinstance(element, dict) and element.get(item.field) == item.value:
            return index
    return None


def new_value(rest: Sequence[Step], value: Json) -> Json:
    """Return the value for the first missing step of a path, with the ``rest`` of it inside."""
    for step in reversed(rest):
        value = [_with_field(step, value)] if isinstance(step, Item) else {step: value}
    return value


def element_of(item: Item, rest: Sequence[Step], value: Json) -> Json:
    """Return a new element of a list: the object that the item names."""
    return _with_field(item, new_value(rest, value))


def _with_field(item: Item, value: Json) -> Json:
    if not isinstance(value, dict):
        raise TypeError("an item of a list must be an object")
    return {item.field: item.value, **value}


def _apply(root: Json, edit: Edit) -> None:
    """Make one edit in a mutable value."""
    here = root
    for depth, step in enumerate(edit.path):
        rest = edit.path[depth + 1 :]
        key = _key_of(here, step, edit.path[:depth])
        if key is None or not rest:
            _set(here, step, key, rest, edit)
            return
        here = here[key]  # type: ignore[index] # _key_of has checked the type


def _key_of(here: Json, step: Step, path: Sequence[Step]) -> str | int | None:
    if isinstance(step, Item):
        if not isinstance(here, list):
            raise shape_error(path, "a list")
        return find_item(here, step)
    if not isinstance(here, dict):
        raise shape_error(path, "an object")
    return step if step in here else None


def _set(here: Json, step: Step, key: str | int | None, rest: Sequence[Step], edit: Edit) -> None:
    if key is None and isinstance(here, list) and isinstance(step, Item):
        here.append(element_of(step, rest, edit.value))
    elif key is None and isinstance(here, dict) and isinstance(step, str):
        here[step] = new_value(rest, copy.deepcopy(edit.value))
    elif not edit.is_default or isinstance(edit.value, dict):
        _merge(here, key, edit)


def _merge(here: Json, key: str | int | None, edit: Edit) -> None:
    """Replace a value that is there; merge an object into an object."""
    old = here[key]  # type: ignore[index] # as above
    if not (isinstance(old, dict) and isinstance(edit.value, dict)):
        if not edit.is_default:
            here[key] = copy.deepcopy(edit.value)  # type: ignore[index]
        return
    for name, value in edit.value.items():
        _apply(old, Edit(path=(name,), value=value, is_default=edit.is_default))
