'''INCLUDE and ARG: what localrun adds in front of Ollama's syntax.

    ARG size=7b                   a value that the caller may give: --arg size=14b
    ARG owner                     one that the caller must give
    FROM qwen3:${size}
    SYSTEM """Ask ${owner} for $${HOME}."""      $${ is ${ where a name is declared
    INCLUDE rules.Modelfile       the instructions of another file, as if they stood here

Only declared names are replaced, from their ARG on, and only inside values: a value
cannot bring an instruction with it, and a file without ARG is left as it is. The first
ARG of a name counts, so that a file sets the defaults of those that it includes.

An included file is found beside the one that includes it, never outside the folder of
the top file. Paths in FROM and ADAPTER mean the folder of the top file wherever they
stand. Files, depth and the length of the whole are bounded.
'''

from __future__ import annotations

import difflib
import posixpath
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from localrun.errors import LocalrunError
from localrun.modelfile.instruction import Instruction, most_of
from localrun.modelfile.problems import ModelfileError, Problem, problem_at, shown
from localrun.modelfile.source import MOST_BYTES, decode_source
from localrun.modelfile.syntax import read_instructions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.modelfile.source import SourceText

Item = Instruction | Problem
Reader = Callable[[str], bytes]  # a path below the top file's folder, with "/"

MOST_FILES = 64
MOST_DEPTH = 8
MOST_TOLD = 20
MOST_USES = 100_000  # of ARG names in values; the work of each is small but not nothing
LONGEST_ARG = 128
ARG = re.compile(
    rf"(?P<name>[A-Za-z_][A-Za-z0-9_]{{0,{LONGEST_ARG - 1}}})(?:=(?P<default>.*))?", re.DOTALL
)
USE = re.compile(rf"(?P<dollar>\$?)\$\{{(?P<name>[A-Za-z_][A-Za-z0-9_]{{0,{LONGEST_ARG - 1}}})\}}")
DRIVE = re.compile(r"[A-Za-z]:")


def expand(
    source: SourceText, given: Mapping[str, str] | None = None, read: Reader | None = None
) -> Iterator[Item]:
    """Yield the instructions of a file with those it includes, and the problems on the way.

    ``given`` are the values of the caller; without ``read`` nothing can be included.
    """
    expansion = Expansion(posixpath.dirname(source.name), given or {}, read)
    yield from expansion.items(source, ("",))
    yield from expansion.strangers(source)


class Expansion:
    """What is known so far: values of names, and how much has been read."""

    def __init__(self, folder: str, given: Mapping[str, str], read: Reader | None) -> None:
        self._folder = folder  # of the top file, for messages only
        self._given = given
        self._read = read
        self._values: dict[str, str] = {}
        self._declared: set[str] = set()
        self._told: set[str] = set()  # undeclared names, each told once
        self._num_files = 1
        self._budget = MOST_BYTES  # characters that inclusion and replacement may still add
        self._num_uses = 0
        self._counts: Counter[str] = Counter()  # of instructions by their kind

    def items(self, source: SourceText, path: tuple[str, ...]) -> Iterator[Item]:
        """Yield what a file comes to; ``path`` are the files that led here, itself last."""
        for item in read_instructions(source):
            try:
                if isinstance(item, Problem):
                    yield item
                else:
                    yield from self._expanded(item, path)
            except ModelfileError as error:
                yield error.problem

    def strangers(self, source: SourceText) -> Iterator[Problem]:
        """Yield a problem for every name that was given and that no ARG declares."""
        for name in self._given:
            if name not in self._declared:
                near = difflib.get_close_matches(name, self._declared, n=1)
                hint = f"did you mean {near[0]}?" if near else f"ARG {shown(name)}=default"
                place = replace(source.place(0), text="")  # no line is to blame
                yield problem_at(place, "unknown-arg", f"no ARG is named {shown(name)}", hint=hint)

    def _expanded(self, written: Instruction, path: tuple[str, ...]) -> Iterator[Item]:
        if written.keyword == "ARG":
            self._declare(written)
            return
        instruction = self._replaced(written)
        if self._declared:
            yield from self._undeclared(written)
        if instruction.keyword == "INCLUDE":
            yield from self._included(instruction, path)
        else:
            yield from self._counted(instruction)

    def _counted(self, instruction: Instruction) -> Iterator[Instruction]:
        """Yield an instruction unless there are too many of its kind, which is told once."""
        what = instruction.what
        self._counts[what] += 1
        if self._counts[what] <= most_of(what):
            yield instruction
        elif self._counts[what] == most_of(what) + 1:
            place = instruction.place
            raise ModelfileError(problem_at(place, "too-many", f"more than {most_of(what)} {what}"))

    def _declare(self, instruction: Instruction) -> None:
        found = ARG.fullmatch(instruction.value)
        if not found:
            _fail(instruction, "bad-arg", "expected ARG name=default", "ARG size=7b")
        name, default = found["name"], found["default"]
        is_new = name not in self._declared
        self._declared.add(name)
        if name in self._given:
            self._values[name] = self._given[name]
        elif is_new and default is not None:
            self._values[name] = self._with_values(instruction, _unquoted(default))
        elif is_new:
            _fail(
                instruction,
                "missing-arg",
                f"{name} has no value",
                f"--arg {name}=VALUE, or ARG {name}=default",
            )

    def _replaced(self, instruction: Instruction) -> Instruction:
        if not self._values:
            return instruction
        extra = instruction.extra
        return replace(
            instruction,
            value=self._with_values(instruction, instruction.value),
            extra=None if extra is None else self._with_values(instruction, extra),
        )

    def _with_values(self, instruction: Instruction, text: str) -> str:
        """Return the text with the declared names replaced by their values."""

        def value(use: re.Match[str]) -> str:
            if use["name"] not in self._values:
                return use[0]
            if use["dollar"]:
                return use[0][1:]
            self._count_use(instruction)
            self._spend(instruction, len(self._values[use["name"]]))
            return self._values[use["name"]]

        return USE.sub(value, text)

    def _count_use(self, instruction: Instruction) -> None:
        self._num_uses += 1
        if self._num_uses > MOST_USES:
            _fail(instruction, "too-long", f"more than {MOST_USES} uses of ARG names")

    def _undeclared(self, instruction: Instruction) -> Iterator[Problem]:
        """Yield a warning for a use of a name that looks like one of ours and is none."""
        for use in USE.finditer(instruction.value):
            name = use["name"]
            if use["dollar"] or name in self._declared or name in self._told:
                continue
            if len(self._told) == MOST_TOLD:
                return
            self._told.add(name)
            yield problem_at(
                instruction.value_place,
                "undeclared-arg",
                f"${{{shown(name)}}} stays as it is: no ARG above declares it",
                hint=f"ARG {shown(name)}=default",
                severity="warning",
            )

    def _included(self, instruction: Instruction, path: tuple[str, ...]) -> Iterator[Item]:
        target = _target(instruction, path[-1])
        if target in path[1:]:
            names = " -> ".join((*path[path.index(target) :], target))
            _fail(instruction, "include-cycle", f"the file includes itself: {shown(names, 200)}")
        if len(path) > MOST_DEPTH:
            _fail(instruction, "include-depth", f"more than {MOST_DEPTH} files inside each other")
        self._num_files += 1
        if self._num_files > MOST_FILES:
            _fail(instruction, "include-count", f"more than {MOST_FILES} files")
        content = self._content(instruction, target)
        source = decode_source(content, posixpath.join(self._folder, target))
        yield from self.items(source, (*path, target))

    def _content(self, instruction: Instruction, target: str) -> bytes:
        if self._read is None:
            _fail(instruction, "no-folder", "INCLUDE needs a file, and this recipe comes from none")
        try:
            content = self._read(target)
        except OSError as error:
            _fail(instruction, "include-missing", f"{target}: {error.strerror or error}")
        except LocalrunError as error:
            _fail(instruction, "include-refused", error.message, error.hint)
        self._spend(instruction, len(content))
        return content

    def _spend(self, instruction: Instruction, num_characters: int) -> None:
        self._budget -= num_characters
        if self._budget < 0:
            _fail(instruction, "too-long", "INCLUDE and ARG make the recipe too long")


def _target(instruction: Instruction, including: str) -> str:
    """Return the path of an included file below the folder of the top file."""
    written = instruction.value.replace("\\", "/")
    if not written or not written.isprintable():
        _fail(instruction, "include-path", "INCLUDE needs the name of a file")
    target = posixpath.normpath(posixpath.join(posixpath.dirname(including), written))
    is_outside = target == ".." or target.startswith(("../", "/"))
    if is_outside or written.startswith("/") or DRIVE.match(written):
        _fail(
            instruction,
            "include-outside",
            f"{shown(written)} is outside the folder of the recipe",
            "copy the file into the folder of the recipe, or below it",
        )
    return target


def _unquoted(text: str) -> str:
    is_quoted = len(text) > 1 and text[0] == text[-1] == '"'
    return text[1:-1] if is_quoted else text


def _fail(instruction: Instruction, code: str, message: str, hint: str | None = None) -> NoReturn:
    raise ModelfileError(problem_at(instruction.value_place, code, message, hint=hint))
