"""Which repository a bare name such as ``qwen3`` or ``qwen3:0.6b`` means.

Owns the catalog's form: the package's ``data/catalog.toml``, and files of the same
form that a user or a team has. Knows names of repositories, not what they hold: it
opens no connection and downloads nothing. One table is one family of models:

    format_version = 1

    [qwen3]
    about = "Qwen3: chat and reasoning models of Alibaba"
    licence = "Apache-2.0"
    default = "8b"                             # the size that the bare name means

    [[qwen3.sizes]]
    tag = "0.6b"
    huggingface = "Qwen/Qwen3-0.6B-GGUF"       # owner/repo
    modelscope = "Qwen/Qwen3-0.6B-GGUF"        # the mirror, if there is one
    quantization = "Q8_0"                      # the one to take of those in the repo
    size = "640 MB"                            # of that file, about; kB, MB or GB

Files are laid over each other, and the later one wins size by size. A file may add
sizes to a family of an earlier file, or change its default: about, licence and
default are needed only where the family is new. Every family has its default size.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass, replace
from importlib import resources
from typing import TYPE_CHECKING

from localrun.errors import UsageError
from localrun.names.parse import PART
from localrun.names.ref import DEFAULT_TAG

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

FORMAT_VERSION = 1
MOST_NEAR = 3
MOST_BYTES = 1 << 20  # some 5,000 sizes
LONGEST_LINE = 2000  # tomllib takes quadratic time for a key of many parts
UNIT_BYTES = {"kB": 10**3, "MB": 10**6, "GB": 10**9}
SIZE = re.compile(r"(\d{1,6}(?:\.\d{1,3})?) (kB|MB|GB)", re.ASCII)
QUANTIZATION = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogEntry:
    """One size of one family, and where its file is."""

    name: str
    tag: str
    about: str
    licence: str
    huggingface: str
    modelscope: str | None
    quantization: str
    size_bytes: int


class Catalog:
    """Every known name. Names and tags are compared without their case."""

    def __init__(self, families: Sequence[_Family]) -> None:
        self._families = {family.name.lower(): family for family in families}

    def find(self, family: str, tag: str | None) -> CatalogEntry | None:
        """Return the entry of a family and a tag, or None if there is none.

        No tag and ``latest`` mean the family's default size.
        """
        found = self._families.get(family.lower())
        if found is None:
            return None
        asked = (tag or DEFAULT_TAG).lower()
        return found.sizes.get(found.default.lower() if asked == DEFAULT_TAG else asked)

    def near(self, text: str) -> list[str]:
        """Return at most three names like ``text``, the nearest first, such as qwen3:0.6b.

        A near family without a tag stands for its default size.
        """
        asked = text.lower().removesuffix(f":{DEFAULT_TAG}")
        names = {name: f"{name}:{family.default}" for name, family in self._families.items()}
        names |= {f"{entry.name}:{entry.tag}".lower(): _full(entry) for entry in self.entries()}
        matches = difflib.get_close_matches(asked, names, n=2 * MOST_NEAR)
        return list(dict.fromkeys(names[match] for match in matches))[:MOST_NEAR]

    def sizes(self, family: str) -> list[CatalogEntry]:
        """Return a family's entries, the smallest file first; empty if it is not known."""
        found = self._families.get(family.lower())
        entries = found.sizes.values() if found else ()
        return sorted(entries, key=lambda entry: entry.size_bytes)

    def entries(self) -> list[CatalogEntry]:
        """Return every entry, by family and then by size."""
        return [entry for name in sorted(self._families) for entry in self.sizes(name)]


def load_catalog(extra: Sequence[Path] = ()) -> Catalog:
    """Read the package's catalog and lay the files ``extra`` over it, the last one on top.

    Raises:
        UsageError: a file cannot be read or has not the form; it names file, family and field.
    """
    packaged = resources.files("localrun").joinpath("data", "catalog.toml")
    families: dict[str, _Family] = {}
    _lay_over(families, _Table.parse("catalog.toml", packaged.read_text(encoding="utf-8")))
    for path in extra:
        _lay_over(families, _Table.parse(str(path), _read(path)))
    return Catalog(list(families.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Family:
    """What all sizes have in common, and the sizes by their tag in lower case."""

    name: str
    about: str
    licence: str
    default: str
    sizes: Mapping[str, CatalogEntry]


@dataclass(frozen=True, slots=True)
class _Table:
    """One table of a file, with where it is, so that an error can name it."""

    where: str
    values: Mapping[str, object]

    @classmethod
    def parse(cls, where: str, text: str) -> _Table:
        longest = max(map(len, text.splitlines()), default=0)
        if longest > LONGEST_LINE:
            raise UsageError(f"{where} has a line of {longest} characters")
        try:
            table = cls(where, tomllib.loads(text))
        except (ValueError, RecursionError) as error:  # also a number of too many digits
            raise UsageError(f"{where} is not TOML: {error}") from error
        version = table.values.get("format_version")
        if type(version) is not int or version != FORMAT_VERSION:
            raise table.wrong("format_version", f"must be {FORMAT_VERSION}")
        return table

    def text(self, name: str) -> str:
        value = self.values.get(name)
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(name, "must be text")
        return value

    def optional_text(self, name: str) -> str | None:
        return self.text(name) if name in self.values else None

    def formed(self, name: str, form: re.Pattern[str], example: str) -> str:
        value = self.text(name)
        if not form.fullmatch(value):
            raise self.wrong(name, f"must look like {example}")
        return value

    def tables(self, name: str) -> list[_Table]:
        value = self.values.get(name, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.wrong(name, f"must be tables, each under [[...{name}]]")
        return [_Table(f"{self.where}, size {at}", item) for at, item in enumerate(value, start=1)]

    def families(self) -> dict[str, _Table]:
        found: dict[str, _Table] = {}
        for name, value in self.values.items():
            if name == "format_version":
                continue
            if not isinstance(value, dict) or not PART.fullmatch(name):
                raise self.wrong(name, "must be a family's table, its name that of a model")
            found[name] = _Table(f"{self.where}, family {name}", value)
        return found

    def wrong(self, name: str, problem: str) -> UsageError:
        given = "" if name in self.values else ", and it is missing"
        return UsageError(
            f"{self.where}: {name} {problem}{given}",
            hint="localrun/data/catalog.toml shows the form",
            param=name,
        )


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise UsageError(f"the catalog {path} has more than {MOST_BYTES} bytes")
        return content.decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"cannot read the catalog {path}: {reason}") from error


def _lay_over(families: dict[str, _Family], file: _Table) -> None:
    """Add what a file says to the families so far, whose keys are names in lower case."""
    for name, table in file.families().items():
        families[name.lower()] = _family(name, table, families.get(name.lower()))


def _family(name: str, table: _Table, known: _Family | None) -> _Family:
    """Read a family's table, over what earlier files said of it."""
    if known is None:
        about, licence, default = (table.text(part) for part in ("about", "licence", "default"))
        known = _Family(name=name, about=about, licence=licence, default=default, sizes={})
    about = table.optional_text("about") or known.about
    licence = table.optional_text("licence") or known.licence
    default = table.optional_text("default") or known.default
    family = replace(known, about=about, licence=licence, default=default)
    added = [_entry(family, size) for size in table.tables("sizes")]
    sizes = {
        entry.tag.lower(): replace(entry, about=about, licence=licence)
        for entry in (*known.sizes.values(), *added)
    }
    if default.lower() not in sizes:
        raise table.wrong("default", f"must be the tag of a size, not {default!r}")
    return replace(family, sizes=sizes)


def _entry(family: _Family, size: _Table) -> CatalogEntry:
    repo_example = "owner/repo"
    has_mirror = "modelscope" in size.values
    return CatalogEntry(
        name=family.name,
        tag=size.formed("tag", PART, "8b"),
        about=family.about,
        licence=family.licence,
        huggingface=size.formed("huggingface", REPO, repo_example),
        modelscope=size.formed("modelscope", REPO, repo_example) if has_mirror else None,
        quantization=size.formed("quantization", QUANTIZATION, "Q4_K_M"),
        size_bytes=_size_bytes(size.formed("size", SIZE, "640 MB")),
    )


def _size_bytes(text: str) -> int:
    number, unit = text.split()
    return round(float(number) * UNIT_BYTES[unit])


def _full(entry: CatalogEntry) -> str:
    return f"{entry.name}:{entry.tag}"
