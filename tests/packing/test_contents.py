"""What is in the binary: all that localrun imports, requires and reads, and what libraries need."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import elf
import environment
import pytest
from packing.tree import elf_files

import localrun
from tests.program import BINARY
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(BINARY is None, reason="scripts/test --binary FILE runs it")

PACKAGE = Path(localrun.__file__).parent
IMPORT = """
import importlib, json, sys

def has(module, name):
    try:
        return hasattr(importlib.import_module(module), name) or importlib.import_module(
            f"{module}.{name}"
        )
    except ImportError:
        return False

print(json.dumps([pair for pair in json.load(sys.stdin) if not has(*pair)]))
"""
CHECK = """
import importlib.metadata, json, sys
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

versions = {canonicalize_name(d.name): d.version for d in importlib.metadata.distributions()}
texts = json.load(sys.stdin)
texts += [text for d in importlib.metadata.distributions() for text in d.requires or ()]
unmet = []
for wanted in map(Requirement, texts):
    if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
        version = versions.get(canonicalize_name(wanted.name))
        if version is None or not wanted.specifier.contains(version, prereleases=True):
            unmet.append(f"{wanted}: {version}")
print(json.dumps(unmet))
"""
OF_GLIBC = (
    *("libc.so", "libm.so", "libmvec.so", "libdl.so", "libpthread.so", "librt.so", "libutil.so"),
    "ld-linux",
)
# loaded by sitecustomize.py if the machine has none
FALLBACKS = {"libstdc++.so.6", "libgcc_s.so.1"}
OF_THE_DRIVER = {"libvulkan.so.1"}


def test_everything_that_localrun_imports_here_is_in_the_binary(tree: Path) -> None:
    wanted = sorted({pair for file in PACKAGE.rglob("*.py") for pair in imports_of(file)})

    here, there = (answer(python, IMPORT, wanted) for python in (sys.executable, python_of(tree)))

    assert len(wanted) > 1000
    assert [pair for pair in there if pair not in here] == []


def test_the_requirements_of_all_packages_are_met(tree: Path) -> None:
    project = tomllib.loads((environment.ROOT / "pyproject.toml").read_text())["project"]

    assert len(project["dependencies"]) > 10
    assert answer(python_of(tree), CHECK, project["dependencies"]) == []


def test_every_file_of_localrun_is_in_the_binary(tree: Path) -> None:
    (packed,) = tree.glob("lib/python3*/site-packages/localrun")

    assert names_of(PACKAGE) - names_of(packed) == set()


def test_every_library_finds_the_libraries_that_it_needs(tree: Path) -> None:
    python = Path(python_of(tree))
    loaded = FALLBACKS | OF_THE_DRIVER | set(elf.read(python).needed)

    missing = {(file.name, name) for file in elf_files(tree) for name in unresolved(file)}

    assert {
        (file, name) for file, name in missing if file == python.name or name not in loaded
    } == set()


def test_no_library_is_searched_outside_of_the_binary(tree: Path) -> None:
    folders = {folder for file in elf_files(tree) for folder in elf.read(file).search}

    assert [folder for folder in folders if not folder.startswith("$ORIGIN")] == []


def imports_of(file: Path) -> Iterator[tuple[str, str]]:
    """Yield the module and the name of each import at run time, also in functions."""
    waiting: list[ast.AST] = [ast.parse(file.read_bytes())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            yield from ((name.name, "__name__") for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", name.name) for name in node.names)


def python_of(tree: Path) -> str:
    (python,) = tree.glob("bin/python3*")
    return str(python)


def answer(python: str, script: str, question: object) -> list[object]:
    """Return what a script prints; it imports the localrun of its own Python."""
    done = subprocess.run(
        [python, "-P", "-W", "ignore", "-c", script],
        check=True,
        capture_output=True,
        text=True,
        input=json.dumps(question),
        cwd="/",
        timeout=HANG_S,
    )
    found: list[object] = json.loads(done.stdout.splitlines()[-1])
    return found


def names_of(folder: Path) -> set[str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix() for path in files}
    return {name for name in names if "__pycache__" not in name}


def unresolved(file: Path) -> Iterator[str]:
    """Yield the libraries that the dynamic linker would not find by the file's own folders."""
    facts = elf.read(file)
    folders = [Path(path.replace("$ORIGIN", str(file.parent))) for path in facts.search]
    here = {name for folder in folders for name in names_of_libraries(folder.resolve())}
    for name in facts.needed:
        if name not in here and not name.startswith(OF_GLIBC):
            yield name


@cache
def names_of_libraries(folder: Path) -> set[str | None]:
    """Return the names of files in a folder, and those by which they are known once loaded."""
    files = [path for path in folder.glob("*.so*") if path.is_file()]
    return {path.name for path in files} | {elf.read(path).soname for path in files}
