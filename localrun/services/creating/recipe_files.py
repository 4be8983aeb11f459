"""Recipe files: reading, and linting against the models and files of this machine.

``modelfile`` finds the problems of the text itself. No check opens a connection. Loads Jinja, so
the server must not import it.
"""

from __future__ import annotations

import difflib
import os
import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.chat.template import ChatTemplate
from localrun.errors import LocalrunError, NotFoundError
from localrun.gguf.adapter import check_adapter
from localrun.gguf.header import read_header, read_headers
from localrun.gguf.role import gguf_role
from localrun.modelfile.lint import LintFinding
from localrun.modelfile.lint import lint as lint_text
from localrun.modelfile.parse import parse_modelfile
from localrun.modelfile.problems import shown
from localrun.modelfile.recipe import Recipe
from localrun.modelfile.source import MAX_BYTES, folder_reader
from localrun.names.parse import local_path, parse_name
from localrun.names.ref import ModelSource
from localrun.remote.source import is_remote_source, parse_sources
from localrun.services.creating.parts import BLOB, is_path, looks_like_path
from localrun.services.recipes import to_jinja

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localrun.gguf.header import Header
    from localrun.modelfile.lint import Use
    from localrun.modelfile.problems import Problem
    from localrun.services.workspace import Workspace

STDIN = "-"
MODELFILE = "Modelfile"
WEIGHTS = {".gguf", ".safetensors"}


def read_recipe(file: str | None, given: Mapping[str, str]) -> tuple[Recipe, Path]:
    """Return a recipe, and the folder that its paths are relative to; ``-`` is stdin.

    None means ``Modelfile``, or, if it does not exist, the weights of the current folder, as in
    Ollama.

    Raises:
        NotFoundError: the file does not exist.
        ModelfileError: the recipe has a problem; the error is the first.
    """
    if file is None:
        file = MODELFILE
        if not Path(file).exists() and _has_weights(Path.cwd()):
            return Recipe(sources=(".",)), Path.cwd()
    content, folder = _content(file), _folder(file)
    read = None if file == STDIN else folder_reader(folder)
    name = "stdin" if file == STDIN else file
    return parse_modelfile(content, name, arg_values=given, read=read), folder


def lint_recipe(workspace: Workspace, file: str, given: Mapping[str, str]) -> list[Problem]:
    """Return all problems of a recipe.

    Raises:
        NotFoundError: the file does not exist.
    """
    content, folder = _content(file), _folder(file)
    checks = _Checks(workspace, folder)
    return lint_text(
        content,
        "stdin" if file == STDIN else file,
        arg_values=given,
        read=None if file == STDIN else folder_reader(folder),
        checks=(checks.source, checks.adapter, checks.template),
    )


def lint_for_clients(workspace: Workspace, content: bytes) -> list[Problem]:
    """Return all problems of a recipe that a client of a server wrote.

    Only the text decides about paths, so that the problems reveal nothing about the disk.
    """
    checks = _Checks(workspace, Path(os.devnull))

    def source(use: Use) -> LintFinding | None:
        is_named_file = use.value.startswith("file:") or looks_like_path(use.value)
        is_file = use.keyword == "ADAPTER" or is_named_file
        if use.keyword in {"FROM", "DRAFT", "ADAPTER"} and is_file:
            if BLOB.fullmatch(use.value):
                return None
            message = f"{shown(use.value)} is a path; a server reads no files for its clients"
            return LintFinding(code="path", message=message, hint="localrun create reads files")
        return checks.source(use)

    return lint_text(content, "recipe", checks=(source, checks.template))


def check_template(text: str) -> None:
    """Check that a template can be used.

    Raises:
        UsageError: the template is invalid; the error says why.
    """
    ChatTemplate(to_jinja(text), bos="", eos="")


class _Checks:
    """Checks of a recipe's values on this machine."""

    def __init__(self, workspace: Workspace, folder: Path) -> None:
        self._workspace = workspace
        self._folder = folder
        self._bases: dict[tuple[str, ...], Header | None] = {}  # by the values of FROM

    @cached_property
    def _names(self) -> list[str]:
        return [model.name for model in self._workspace.models.list_models()]

    @cached_property
    def _keys(self) -> set[tuple[str, ...]]:
        return {parse_name(name).key for name in self._names}

    def source(self, use: Use) -> LintFinding | None:
        """Report a FROM or DRAFT that names nothing."""
        if use.keyword not in {"FROM", "DRAFT"}:
            return None
        try:
            return self._source(use.value)
        except LocalrunError as error:
            hint = "a comment has a line of its own" if " #" in use.value else error.hint
            return LintFinding(code="bad-name", message=error.message, hint=hint)

    def adapter(self, use: Use) -> LintFinding | None:
        """Report an adapter that does not exist, or does not fit the weights."""
        if use.keyword != "ADAPTER" or BLOB.fullmatch(use.value):
            return None
        try:
            path = self._folder / local_path(use.value)
        except LocalrunError as error:
            return LintFinding(code="no-file", message=error.message)
        if not path.exists():
            return LintFinding(code="no-file", message=f"no such file: {path}")
        try:
            base = self._base(use.sources) if path.suffix == ".gguf" else None
            if base is not None:
                check_adapter(read_header(path), base)
        except LocalrunError as error:
            return LintFinding(code="wrong-adapter", message=error.message, hint=error.hint)
        return None

    def template(self, use: Use) -> LintFinding | None:
        """Report an invalid template."""
        if use.keyword != "TEMPLATE":
            return None
        try:
            check_template(use.value)
        except LocalrunError as error:
            return LintFinding(code="bad-template", message=error.message, hint=error.hint)
        return None

    def _source(self, value: str) -> LintFinding | None:
        if is_remote_source(value):
            parse_sources([value], self._folder)
            return None
        if is_path(value, self._folder):
            path = self._folder / local_path(value)
            return (
                None
                if path.exists()
                else LintFinding(code="no-file", message=f"no such file: {path}")
            )
        if BLOB.fullmatch(value):
            self._workspace.store.blobs.path(value)
            return None
        ref = parse_name(value)
        catalog = self._workspace.catalog
        if ref.source is not ModelSource.LOCAL or ref.namespace:
            return None  # a hub's model: only a pull can check it
        if ref.key in self._keys or catalog.find(ref.model, ref.tag) is not None:
            return None
        here = [name.removesuffix(":latest") for name in self._names]
        near = difflib.get_close_matches(value, here, n=1) or catalog.near(value)
        return LintFinding(
            code="no-model",
            message=f"no model is named {value}, here or in the catalog",
            hint=f"did you mean {near[0]}?" if near else "localrun search NAME   finds models",
        )

    def _base(self, sources: tuple[str, ...]) -> Header | None:
        """Return the header of the weights that FROM names, or None if they are not here."""
        if sources not in self._bases:
            shards = self._weights(sources)
            self._bases[sources] = read_headers(shards) if shards else None
        return self._bases[sources]

    def _weights(self, sources: tuple[str, ...]) -> tuple[Path, ...]:
        """Return the weights that FROM names, or none if they are not on this machine."""
        try:
            for value in sources:
                if is_remote_source(value):
                    return ()
                if is_path(value, self._folder):
                    path = self._folder / local_path(value)
                    if path.is_file() and gguf_role(path) == "weights":
                        return (path,)
                elif not BLOB.fullmatch(value):
                    return self._workspace.models.find_model(value).shards
        except (LocalrunError, OSError):  # reported by `source`
            return ()
        return ()


def _has_weights(folder: Path) -> bool:
    return any(path.suffix in WEIGHTS for path in folder.iterdir())


def _content(file: str) -> bytes:
    if file == STDIN:
        return sys.stdin.buffer.read(MAX_BYTES + 1)
    try:
        with Path(file).open("rb") as opened:
            return opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise NotFoundError(
            f"{file} cannot be read: {error.strerror}",
            hint="write one that begins with: FROM guide",
        ) from error


def _folder(file: str) -> Path:
    return Path.cwd() if file == STDIN else Path(file).absolute().parent
