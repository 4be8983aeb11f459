"""Rules of one family: what another program wrote otherwise than llama.cpp reads it.

A file in ``families/`` has the rules of a family in TOML. Keys and tensors are named as in the
file that is translated:

    architecture    in ``general.architecture``
    becomes         the same in llama.cpp; the keys with the old name in front are renamed
    [marks]         by which a file is recognized, any of them suffices; none: the architecture does
      tensors, keys, missing_keys, missing_tensors    names; ``*`` stands for any beginning or end
    drop            beginnings of tensors that llama.cpp loads from a projector
    rows            the tensor whose rows are the vocabulary; longer lists of tokens are cut
    [rename]        keys
    [set]           keys with their values: {u32 = 1}, {f32 = 0.5}, {str = "yarn"}, {i32s = [1, 2]},
                    {copy = "key"}, {sum = ["key", "key"]}, {item = ["key", 1]}, {length = "key"},
                    {rows = "tensor"}, {columns = "tensor"}; with ``at_least = ["key", 1]`` only if
                    a number is that large. The keys and tensors are those of the file
    [default]       the same, if the key is missing
    [convert]       keys with the change of their value, see `localrun.translation.values`
    remove          keys
    [tensors]       names; with a dot in front, the end or a part between dots of all names
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localrun.gguf.header import Header

ARCHITECTURE = "general.architecture"


@dataclass(frozen=True, slots=True)
class Marks:
    """What only files of the other program have, or lack."""

    tensors: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    missing_keys: tuple[str, ...] = ()
    missing_tensors: tuple[str, ...] = ()

    def are_in(self, header: Header) -> bool:
        """Return whether a file has any of them; without any, every file does."""
        found = [
            *(_has(header.tensors, name) for name in self.tensors),
            *(_has(header.metadata, name) for name in self.keys),
            *(not _has(header.metadata, name) for name in self.missing_keys),
            *(not _has(header.tensors, name) for name in self.missing_tensors),
        ]
        return any(found) or not found


@dataclass(frozen=True, slots=True)
class Rules:
    """Rules of one family."""

    architecture: str
    becomes: str
    marks: Marks = Marks()
    drop: tuple[str, ...] = ()
    rows: str | None = None
    rename: Mapping[str, str] = field(default_factory=dict)
    set: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    default: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    convert: Mapping[str, str] = field(default_factory=dict)
    remove: tuple[str, ...] = ()
    tensors: Mapping[str, str] = field(default_factory=dict)

    def new_key(self, key: str) -> str:
        """Return llama.cpp's name of a key."""
        renamed = self.rename.get(key, key)
        prefix = f"{self.architecture}."
        if renamed.startswith(prefix):
            return f"{self.becomes}.{renamed.removeprefix(prefix)}"
        return renamed

    def new_tensor(self, name: str) -> str:
        """Return llama.cpp's name of a tensor."""
        if name in self.tensors:
            return self.tensors[name]
        for old, new in self.tensors.items():
            if old.startswith(".") and old.endswith(".") and old in name:
                return name.replace(old, new, 1)
            if old.startswith(".") and name.endswith(old):
                return name.removesuffix(old) + new
        return name

    def drops(self, name: str) -> bool:
        """Return whether a tensor is not one of the text model."""
        return name.startswith(self.drop) if self.drop else False


def rules_for(header: Header) -> Rules | None:
    """Return the rules for a file, or None if llama.cpp reads it as it is.

    The file is recognized by its header alone.
    """
    for rules in _all_rules().get(header.architecture, ()):
        if rules.marks.are_in(header):
            return rules
    return None


def is_translatable(architecture: str) -> bool:
    """Return whether files of an architecture that llama.cpp lacks can be translated."""
    return any(rules.becomes != architecture for rules in _all_rules().get(architecture, ()))


@cache
def _all_rules() -> Mapping[str, list[Rules]]:
    """Return the rules of all families by architecture, special cases first."""
    import tomllib  # few models need it

    found: dict[str, list[Rules]] = {}
    folder = resources.files("localrun.translation").joinpath("families")
    for file in sorted(folder.iterdir(), key=lambda each: each.name):
        if file.name.endswith(".toml"):
            rules = parse_rules(tomllib.loads(file.read_text(encoding="utf-8")))
            found.setdefault(rules.architecture, []).append(rules)
    for rules_of_one in found.values():
        rules_of_one.sort(key=lambda rules: rules.becomes == rules.architecture)
    return found


def parse_rules(table: Mapping[str, Any]) -> Rules:
    """Return the rules of a file's content."""
    marks = {name: tuple(names) for name, names in table.get("marks", {}).items()}
    maps = {name: table[name] for name in MAPS if name in table}
    architecture = table["architecture"]
    return Rules(
        architecture=architecture,
        becomes=table.get("becomes", architecture),
        marks=Marks(**marks),
        rows=table.get("rows"),
        drop=tuple(table.get("drop", ())),
        remove=tuple(table.get("remove", ())),
        **maps,
    )


MAPS = ("rename", "set", "default", "convert", "tensors")


def _has(names: Mapping[str, object], wanted: str) -> bool:
    if wanted.endswith("*"):
        return any(name.startswith(wanted[:-1]) for name in names)
    if wanted.startswith("*"):
        return any(name.endswith(wanted[1:]) for name in names)
    return wanted in names
