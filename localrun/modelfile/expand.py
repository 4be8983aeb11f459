'''Expansion of INCLUDE and ARG, localrun's additions to Ollama's syntax.

    ARG size=7b                   the caller may set it: --arg size=14b
    ARG owner                     the caller must set it
    FROM qwen3:${size}
    SYSTEM """Ask ${owner} for $${HOME}."""      $${ becomes ${ before a declared name
    INCLUDE rules.Modelfile       replaced by the instructions of another file

Only declared names are replaced, behind their ARG, and only inside values: a value cannot add an
instruction, and a file without ARG is not changed. The first ARG of a name counts, so a file sets
the defaults for the files that it includes.

The path of an included file is relative to the including file, and never outside the folder of the
top file. Paths in FROM and ADAPTER are relative to the folder of the top file in every file. The
number of files, their depth and the total length are bounded.
'''

from __future__ import annotations

import difflib
import posixpath
import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from localrun.errors import LocalrunError
from localrun.modelfile.instruction import Instruction, most_of
from localrun.modelfile.problems import ModelfileError, Problem, problem_at, shown
from localrun.modelfile.source import MAX_BYTES, decode_source
from localrun.modelfile.syntax import read_instructions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from localrun.modelfile.source import Reader, SourceText

Item = Instruction | Problem

MAX_FILES = 64
MAX_DEPTH = 8
MAX_UNDECLARED = 20  # warnings
MAX_USES = 100_000  # of ARG names in values: each costs a little time
LONGEST_ARG = 128
ARG = re.compile(
    rf"(?P<name>[A-Za-z_][A-Za-z0-9_]{{0,{LONGEST_ARG - 1}}})(?:=(?P<default>.*))?", re.DOTALL
)
USE = re.compile(rf"(?P<dollar>\$?)\$\{{(?P<name>[A-Za-z_][A-Za-z0-9_]{{0,{LONGEST_ARG - 1}}})\}}")
DRIVE = re.compile(r"[A-Za-z]:")


def expand(
    source: SourceText, arg_values: Mapping[str, str] | None = None, read: Reader | None = None
) -> Iterator[Item]:
    """Yield the instructions of a file and of the files that it includes, and their problems.

    ``arg_values`` are the caller's values; without ``read``, INCLUDE is a problem.
    """
    expansion = Expansion(posixpath.dirname(source.name), arg_values or {}, read)
    yield from expansion.items(source, ("",))
    yield from expansion.unknown_args(source)


class Expansion:
    """State of an expansion: values of names, and the budget of files and characters."""

    def __init__(self, folder: str, arg_values: Mapping[str, str], read: Reader | None) -> None:
        self._folder = folder  # of the top file, for messages only
        self._arg_values = arg_values
        self._read = read
        self._values: dict[str, str] = {}
        self._declared: set[str] = set()
        self._undeclared: set[str] = set()  # names that were warned about
        self._num_files = 1
        self._budget = MAX_BYTES  # characters that INCLUDE and ARG may still add
        self._num_uses = 0
        self._counts: Counter[str] = Counter()  # of instructions by their kind

    def items(self, source: SourceText, path: tuple[str, ...]) -> Iterator[Item]:
        """Yield the expanded items of a file; ``path`` lists the including files and the file."""
        for item in read_instructions(source):
            try:
                if isinstance(item, Problem):
                    yield item
                else:
                    yield from self._expanded(item, path)
            except ModelfileError as error:
                yield error.problem

    def unknown_args(self, source: SourceText) -> Iterator[Problem]:
        """Yield a problem for each value of the caller that no ARG declares."""
        for name in self._arg_values:
            if name not in self._declared:
                near = difflib.get_close_matches(name, self._declared, n=1)
                hint = f"did you mean {near[0]}?" if near else f"ARG {shown(name)}=default"
                position = replace(source.position(0), text="")  # no line to show
                yield problem_at(
                    position, "unknown-arg", f"no ARG is named {shown(name)}", hint=hint
                )

    def _expanded(self, original: Instruction, path: tuple[str, ...]) -> Iterator[Item]:
        if original.keyword == "ARG":
            self._declare(original)
            return
        instruction = self._replaced(original)
        if self._declared:
            yield from self._undeclared_uses(original)
        if instruction.keyword == "INCLUDE":
            yield from self._included(instruction, path)
        else:
            yield from self._counted(instruction)

    def _counted(self, instruction: Instruction) -> Iterator[Instruction]:
        """Yield an instruction unless there are too many of its kind, which is one problem."""
        kind = instruction.kind
        self._counts[kind] += 1
        if self._counts[kind] <= most_of(kind):
            yield instruction
        elif self._counts[kind] == most_of(kind) + 1:
            message = f"more than {most_of(kind)} {kind}"
            raise ModelfileError(problem_at(instruction.position, "too-many", message))

    def _declare(self, instruction: Instruction) -> None:
        declaration = ARG.fullmatch(instruction.value)
        if not declaration:
            _fail(instruction, "bad-arg", "expected ARG name=default", "ARG size=7b")
        name, default = declaration["name"], declaration["default"]
        is_new = name not in self._declared
        self._declared.add(name)
        if name in self._arg_values:
            self._values[name] = self._arg_values[name]
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
        """Return the text with declared names replaced by their values."""

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
        if self._num_uses > MAX_USES:
            _fail(instruction, "too-long", f"more than {MAX_USES} uses of ARG names")

    def _undeclared_uses(self, instruction: Instruction) -> Iterator[Problem]:
        """Yield a warning for each use of an undeclared name, once for each name."""
        for use in USE.finditer(instruction.value):
            name = use["name"]
            if use["dollar"] or name in self._declared or name in self._undeclared:
                continue
            if len(self._undeclared) == MAX_UNDECLARED:
                return
            self._undeclared.add(name)
            yield problem_at(
                instruction.value_position,
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
        if len(path) > MAX_DEPTH:
            _fail(instruction, "include-depth", f"more than {MAX_DEPTH} files inside each other")
        self._num_files += 1
        if self._num_files > MAX_FILES:
            _fail(instruction, "include-count", f"more than {MAX_FILES} files")
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
    """Return the path of an included file, relative to the folder of the top file."""
    path = instruction.value.replace("\\", "/")
    if not path or not path.isprintable():
        _fail(instruction, "include-path", "INCLUDE needs the name of a file")
    target = posixpath.normpath(posixpath.join(posixpath.dirname(including), path))
    is_outside = target == ".." or target.startswith(("../", "/"))
    if is_outside or path.startswith("/") or DRIVE.match(path):
        _fail(
            instruction,
            "include-outside",
            f"{shown(path)} is outside the folder of the recipe",
            "copy the file into the folder of the recipe, or below it",
        )
    return target


def _unquoted(text: str) -> str:
    is_quoted = len(text) > 1 and text[0] == text[-1] == '"'
    return text[1:-1] if is_quoted else text


def _fail(instruction: Instruction, code: str, message: str, hint: str | None = None) -> NoReturn:
    raise ModelfileError(problem_at(instruction.value_position, code, message, hint=hint))
