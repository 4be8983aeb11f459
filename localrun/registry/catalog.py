"""Model catalog: the repository behind a bare name such as ``qwen3`` or ``qwen3:0.6b``.

Owns the catalog's format: the package's ``data/catalog.toml``, and files of the same format that
a user or a team adds. Knows names of repositories, not their content; opens no connection.
One table is one family of models:

    format_version = 1

    [qwen3]
    about = "Qwen3: chat and reasoning models of Alibaba"
    licence = "Apache-2.0"
    default = "8b"                             # the size that the bare name means
    draft = "qwen3:0.6b"                       # drafts tokens for the larger sizes, if there is one

    [[qwen3.sizes]]
    tag = "0.6b"
    huggingface = "Qwen/Qwen3-0.6B-GGUF"       # owner/repo
    modelscope = "Qwen/Qwen3-0.6B-GGUF"        # the mirror, if there is one
    quantization = "Q8_0"                      # which file of the repository to take
    size = "640 MB"                            # approximate size of that file; kB, MB or GB

A size may have a ``draft`` of its own. It is a name of the catalog with its tag; whether it has the
model's vocabulary is checked when it is used.

Files are merged in order, and a later file wins size by size. A file may add sizes to a family of
an earlier file, or change its default: about, licence and default are required only for a new
family. Every family has its default size.
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
MAX_NEAR = 3
MAX_BYTES = 1 << 20  # some 5,000 sizes
LONGEST_LINE = 2000  # tomllib takes quadratic time for a key of many parts
UNIT_BYTES = {"kB": 10**3, "MB": 10**6, "GB": 10**9}
SIZE = re.compile(r"(\d{1,6}(?:\.\d{1,3})?) (kB|MB|GB)", re.ASCII)
QUANTIZATION = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
DRAFT = re.compile(r"[A-Za-z0-9][\w.-]*:[A-Za-z0-9][\w.-]*", re.ASCII)
REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogEntry:
    """One size of one family, and the repositories that hold its file."""

    name: str
    tag: str
    about: str
    licence: str
    huggingface: str
    modelscope: str | None
    quantization: str
    size_bytes: int
    draft: str = ""  # name of the model that drafts tokens for this one; "" for the family's


class Catalog:
    """All known names; names and tags are compared without case."""

    def __init__(self, families: Sequence[_Family]) -> None:
        self._families = {family.name.lower(): family for family in families}

    def find(self, family: str, tag: str | None) -> CatalogEntry | None:
        """Return the entry of a family and a tag, or None if it is not known.

        No tag and ``latest`` mean the family's default size.
        """
        known = self._families.get(family.lower())
        if known is None:
            return None
        size = (tag or DEFAULT_TAG).lower()
        return known.sizes.get(known.default.lower() if size == DEFAULT_TAG else size)

    def find_repository(self, repo: str) -> CatalogEntry | None:
        """Return the first entry of a repository of a hub, or None."""
        wanted = repo.lower()
        for family in self._families.values():
            for entry in family.sizes.values():
                if wanted in {entry.huggingface.lower(), (entry.modelscope or "").lower()}:
                    return entry
        return None

    def draft_of(self, entry: CatalogEntry) -> CatalogEntry | None:
        """Return the entry that drafts tokens for another one, None without one."""
        family = self._families[entry.name.lower()]
        name, _, tag = (entry.draft or family.draft).partition(":")
        draft = self.find(name, tag) if name else None
        return None if draft == entry else draft

    def near(self, text: str) -> list[str]:
        """Return at most three names similar to ``text``, such as qwen3:0.6b, the nearest first.

        A family without a tag stands for its default size.
        """
        name = text.lower().removesuffix(f":{DEFAULT_TAG}")
        names = {key: f"{key}:{family.default}" for key, family in self._families.items()}
        names |= {f"{entry.name}:{entry.tag}".lower(): _full(entry) for entry in self.entries()}
        matches = difflib.get_close_matches(name, names, n=2 * MAX_NEAR)
        return list(dict.fromkeys(names[match] for match in matches))[:MAX_NEAR]

    def sizes(self, family: str) -> list[CatalogEntry]:
        """Return a family's entries, the smallest file first; empty if the family is not known."""
        known = self._families.get(family.lower())
        entries = known.sizes.values() if known else ()
        return sorted(entries, key=lambda entry: entry.size_bytes)

    def entries(self) -> list[CatalogEntry]:
        """Return every entry by family, then by size."""
        return [entry for name in sorted(self._families) for entry in self.sizes(name)]


def load_catalog(extra: Sequence[Path] = ()) -> Catalog:
    """Read the package's catalog and merge the files ``extra`` into it; later files win.

    Raises:
        UsageError: a file cannot be read or is malformed; the error names file, family and field.
    """
    packaged = resources.files("localrun").joinpath("data", "catalog.toml")
    families: dict[str, _Family] = {}
    _merge(families, _Table.parse("catalog.toml", packaged.read_text(encoding="utf-8")))
    for path in extra:
        _merge(families, _Table.parse(str(path), _read(path)))
    return Catalog(list(families.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Family:
    """Fields that all sizes share, and the sizes by lower-case tag."""

    name: str
    about: str
    licence: str
    default: str
    sizes: Mapping[str, CatalogEntry]
    draft: str = ""


@dataclass(frozen=True, slots=True)
class _Table:
    """One table of a file, with its position for error messages."""

    where: str
    values: Mapping[str, object]

    @classmethod
    def parse(cls, where: str, text: str) -> _Table:
        longest = max(map(len, text.splitlines()), default=0)
        if longest > LONGEST_LINE:
            raise UsageError(
                f"{where} has a line of {longest} characters, more than {LONGEST_LINE}"
            )
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
        families: dict[str, _Table] = {}
        for name, value in self.values.items():
            if name == "format_version":
                continue
            if not isinstance(value, dict) or not PART.fullmatch(name):
                raise self.wrong(name, "must be a table whose name is a valid model name")
            families[name] = _Table(f"{self.where}, family {name}", value)
        return families

    def wrong(self, name: str, problem: str) -> UsageError:
        given = "" if name in self.values else ", and it is missing"
        return UsageError(
            f"{self.where}: {name} {problem}{given}",
            hint="localrun/data/catalog.toml shows the format",
            param=name,
        )


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise UsageError(f"the catalog {path} has more than {MAX_BYTES} bytes")
        return content.decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"cannot read the catalog {path}: {reason}") from error


def _merge(families: dict[str, _Family], file: _Table) -> None:
    """Merge a file into the families read so far, whose keys are lower-case names."""
    for name, table in file.families().items():
        families[name.lower()] = _family(name, table, families.get(name.lower()))


def _family(name: str, table: _Table, known: _Family | None) -> _Family:
    """Read a family's table and merge it with the same family of earlier files."""
    if known is None:
        about, licence, default = (table.text(part) for part in ("about", "licence", "default"))
        known = _Family(name=name, about=about, licence=licence, default=default, sizes={})
    about = table.optional_text("about") or known.about
    licence = table.optional_text("licence") or known.licence
    default = table.optional_text("default") or known.default
    family = replace(
        known, about=about, licence=licence, default=default, draft=_draft(table) or known.draft
    )
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
        draft=_draft(size),
    )


def _draft(table: _Table) -> str:
    return table.formed("draft", DRAFT, "qwen3:0.6b") if "draft" in table.values else ""


def _size_bytes(text: str) -> int:
    number, unit = text.split()
    return round(float(number) * UNIT_BYTES[unit])


def _full(entry: CatalogEntry) -> str:
    return f"{entry.name}:{entry.tag}"
