"""What the warm process of a server imports, and what its workers run."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import pkgutil
import sys
from typing import TYPE_CHECKING

import localrun
from localrun.program import RUNNER_ENVIRONMENT
from localrun.warm.protocol import RUNNER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from localrun.warm.lifeline import Warm

_log = logging.getLogger(__name__)

# of a runner, first: a first command waits for one
FIRST = (
    "localrun.cli.internal.runner", "localrun.engine.cache.prefix_cache",
    "localrun.engine.cache.state_cache", "localrun.engine.engine",
    "localrun.engine.llama.library", "localrun.engine.llama.placement",
    "localrun.runner.prompt_restorer", "localrun.runner.prompt_saver",
    "localrun.runner.prompts.templates", "localrun.runner.saved_prompts",
    "localrun.runner.text_tokenizer", "localrun.runner.tool_grammars",
)  # fmt: skip
PACKAGES = ("cli", "client", "services", "store", "modelfile", "chat")
LAST = ("localrun.runner.main",)  # numpy and all that uses it
# for memory: a chat runs in the client's own process, and its prompt_toolkit has 14 MB; asyncio of
# the tests of remote models brings ssl
LEFT_OUT = (
    "localrun.cli.chatting", "localrun.cli.menu", "localrun.cli.rendering",
    "localrun.services.remotes.testing",
)  # fmt: skip
# urllib3 stays out, for memory: who uses the network waits for it anyway; huggingface_hub and
# modelscope, because they read the environment when they are imported
LIBRARIES = (
    "encodings.idna", "importlib.readers", "localrun.logs", "localrun.registry.catalog",
    "localrun.warm.own_terminal", "rich._emoji_codes", "rich.console", "stringprep",
    "typer._click._textwrap", "typer._click.decorators", "typer.rich_utils",
)  # fmt: skip


def start(path: str) -> Warm | None:
    """Fork the warm process that listens at ``path``; return None if it cannot be had."""
    warm = None
    if sys.platform == "linux" and os.environ.get("LOCALRUN_WARM") != "0":
        from localrun.warm.process import start_warm

        warm = start_warm(path, _run, _import, RUNNER_ENVIRONMENT)
    return warm


def _import() -> Iterator[str | None]:
    """Import in steps, and build all commands; the last step follows a first runner."""
    _load_llama()
    _import_all(FIRST)
    yield None
    for package in PACKAGES:
        path = [f"{folder}/{package}" for folder in localrun.__path__]
        modules = pkgutil.walk_packages(path, f"localrun.{package}.")
        _import_all(one.name for one in modules if not one.name.startswith(LEFT_OUT))
        yield None
    _import_all(LIBRARIES)
    from localrun.cli.app import build_all

    build_all()
    yield RUNNER
    _import_all(LAST)


def _load_llama() -> None:
    from localrun.engine.llama.binding import load_binding
    from localrun.engine.llama.cuda_libraries import prepare

    prepare()
    with contextlib.suppress(ImportError, OSError, RuntimeError):  # the first runner reports it
        load_binding()


def _import_all(names: Iterable[str]) -> None:
    for name in names:
        try:
            importlib.import_module(name)
        except (ImportError, OSError, RuntimeError):  # a library of llama.cpp: its user reports it
            _log.debug("cannot import %s", name, exc_info=True)


def _run() -> int:
    from localrun.cli.main import main

    return main()
