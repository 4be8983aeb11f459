"""Rules of one family: what another program wrote otherwise than llama.cpp reads it.

A file in ``families/`` has the rules of a family in TOML. Keys and tensors are named as in the
file that is translated:

    architecture    in ``general.architecture``
    becomes         the same in llama.cpp; the keys with the old name in front are renamed
    version         of the rules, 1 at first: a model is translated again if it has grown
    [needs]         what a file must have, all of them, to be recognized
    [marks]         by which a file is recognized, any of them suffices; none: the architecture does
      tensors, keys, missing_keys, missing_tensors    names; ``*`` stands for any beginning or end
      texts         keys with their text value
      string_lists  keys of lists of texts
      unequal_rows  two tensors
      at_least      a key with the least number
    drop            beginnings of tensors that are not the text model's
    rows            the tensor whose rows are the vocabulary; longer lists of tokens are cut
    [rename]        keys
    [set]           keys with their values, see `localrun.translation.values`
    [default]       the same, if the key is missing
    [convert]       keys with the change of their value, see `localrun.translation.values`
    remove          keys
    [tensors]       names, see `localrun.translation.patterns`; one after another in this order
    [join], [split], [change]    see `localrun.translation.tensors`
    [projector]     rules of the second file, for llama.cpp's encoder of images and audio:
      take          beginnings of its tensors
      default, set, tensors, join, split, change      as above; no other key is kept
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from localrun.gguf.header import SkippedArray
from localrun.translation.values import is_at_least

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localrun.gguf.header import Header

ARCHITECTURE = "general.architecture"
PADDING = "localrun.padding"  # a key that every translated file has
STRING = 8  # GGUF's number of the type
MAPS = ("rename", "set", "default", "convert", "tensors", "join", "split", "change")


@dataclass(frozen=True, slots=True)
class Marks:
    """What only files of the other program have, or lack."""

    tensors: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    missing_keys: tuple[str, ...] = ()
    missing_tensors: tuple[str, ...] = ()
    texts: tuple[tuple[str, str], ...] = ()
    string_lists: tuple[str, ...] = ()
    unequal_rows: tuple[str, ...] = ()
    at_least: tuple[Any, ...] = ()

    def found_in(self, header: Header) -> list[bool]:
        """Return for each of them whether a file has it."""
        return [
            *(_has(header.tensors, name) for name in self.tensors),
            *(_has(header.metadata, name) for name in self.keys),
            *(not _has(header.metadata, name) for name in self.missing_keys),
            *(not _has(header.tensors, name) for name in self.missing_tensors),
            *(header.text(key) == text for key, text in self.texts),
            *(_is_string_list(header, key) for key in self.string_lists),
            *([_differ_in_rows(header, self.unequal_rows)] if self.unequal_rows else ()),
            *([is_at_least(header, *self.at_least)] if self.at_least else ()),
        ]


@dataclass(frozen=True, slots=True)
class Rules:
    """Rules of one family, for one of the files that it becomes."""

    architecture: str
    becomes: str
    version: int = 1
    needs: Marks = Marks()
    marks: Marks = Marks()
    drop: tuple[str, ...] = ()
    take: tuple[str, ...] | None = None  # of a projector, which has only these
    rows: str | None = None
    rename: Mapping[str, str] = field(default_factory=dict)
    set: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    default: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    convert: Mapping[str, str] = field(default_factory=dict)
    remove: tuple[str, ...] = ()
    tensors: Mapping[str, str] = field(default_factory=dict)
    join: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    split: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    change: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    projector: Rules | None = None

    @property
    def label(self) -> str:
        """Return a text that changes with the version of the rules."""
        return f"{self.architecture} {self.becomes} {self.version}"

    def recognizes(self, header: Header) -> bool:
        """Return whether a file of the architecture is in the other program's layout."""
        found = self.marks.found_in(header)
        return all(self.needs.found_in(header)) and (any(found) or not found)

    def new_key(self, key: str) -> str:
        """Return llama.cpp's name of a key."""
        renamed = self.rename.get(key, key)
        prefix = f"{self.architecture}."
        if renamed.startswith(prefix):
            return f"{self.becomes}.{renamed.removeprefix(prefix)}"
        return renamed

    def has(self, tensor: str) -> bool:
        """Return whether a tensor of the file belongs to what these rules write."""
        if self.take is not None:
            return tensor.startswith(self.take)
        return not (self.drop and tensor.startswith(self.drop))

    def projector_of(self, header: Header) -> Rules | None:
        """Return the rules of a projector in the same file, or None if it has none."""
        rules = self.projector
        return rules if rules is not None and any(map(rules.has, header.tensors)) else None


def rules_for(header: Header) -> Rules | None:
    """Return the rules for a file, or None if llama.cpp reads it as it is.

    The file is recognized by its header alone. A translated file is not recognized again.
    """
    if PADDING in header.metadata:
        return None
    for rules in _rules_of(header.architecture):
        if rules.recognizes(header):
            return rules
    return None


def is_translatable(architecture: str) -> bool:
    """Return whether files of an architecture that llama.cpp lacks can be translated."""
    return any(rules.becomes != architecture for rules in _rules_of(architecture))


def is_current(label: str) -> bool:
    """Return whether the rules with a label are still those of their family."""
    return any(rules.label == label for rules in _rules_of(label.partition(" ")[0]))


@lru_cache(maxsize=256)
def _rules_of(architecture: str) -> list[Rules]:
    """Return the rules for files of an architecture, special cases first."""
    import tomllib  # few models need it

    folder = resources.files("localrun.translation").joinpath("families")
    files = sorted(folder.iterdir(), key=lambda each: each.name)
    texts = [file.read_text(encoding="utf-8") for file in files if file.name.endswith(".toml")]
    line = f'\narchitecture = "{architecture}"\n'  # only these are parsed, which takes longer
    found = [parse_rules(tomllib.loads(text)) for text in texts if line in text]
    return sorted(found, key=lambda rules: (rules.needs == Marks(), rules.marks == Marks()))


def parse_rules(table: Mapping[str, Any]) -> Rules:
    """Return the rules of a file's content."""
    architecture = table["architecture"]
    projector = table.get("projector")
    return Rules(
        architecture=architecture,
        becomes=table.get("becomes", architecture),
        version=table.get("version", 1),
        needs=_marks(table.get("needs", {})),
        marks=_marks(table.get("marks", {})),
        rows=table.get("rows"),
        drop=tuple(table.get("drop", ())),
        remove=tuple(table.get("remove", ())),
        projector=None if projector is None else _projector(architecture, projector),
        **_maps(table),
    )


def _projector(architecture: str, table: Mapping[str, Any]) -> Rules:
    take = tuple(table["take"])
    return Rules(architecture=architecture, becomes="clip", take=take, **_maps(table))


def _maps(table: Mapping[str, Any]) -> dict[str, Any]:
    return {name: table[name] for name in MAPS if name in table}


def _marks(table: Mapping[str, Any]) -> Marks:
    lists = {name: tuple(names) for name, names in table.items() if name != "texts"}
    return Marks(**lists, texts=tuple(table.get("texts", {}).items()))


def _has(names: Mapping[str, object], wanted: str) -> bool:
    if wanted.endswith("*"):
        return any(name.startswith(wanted[:-1]) for name in names)
    if wanted.startswith("*"):
        return any(name.endswith(wanted[1:]) for name in names)
    return wanted in names


def _is_string_list(header: Header, key: str) -> bool:
    value = header.metadata.get(key)
    if isinstance(value, SkippedArray):
        return value.kind == STRING
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _differ_in_rows(header: Header, names: tuple[str, ...]) -> bool:
    tensors = [header.tensors[name] for name in names if name in header.tensors]
    rows = {tensor.sizes[1] for tensor in tensors if len(tensor.sizes) > 1}
    return len(tensors) == len(names) and len(rows) > 1
