"""Typer application: the table of all commands."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated, Any

from typer import Context, Exit, Option, Typer
from typer.main import get_command

from localrun import __version__
from localrun.cli.backend import ABOUT_BACKEND, BACKEND_COMMANDS
from localrun.cli.batch.batch import batch
from localrun.cli.bench.bench import bench
from localrun.cli.chats.commands import ABOUT_CHATS, CHATS_COMMANDS
from localrun.cli.completion import completion
from localrun.cli.connecting.connect import connect
from localrun.cli.connecting.launch import launch
from localrun.cli.deferred import Commands, build_commands
from localrun.cli.deploying.commands import ABOUT_DEPLOY, DEPLOY_COMMANDS
from localrun.cli.doctor import doctor
from localrun.cli.eval.evaluate import evaluate_command
from localrun.cli.help import help_command
from localrun.cli.installation.service import ABOUT_SERVICE, SERVICE_COMMANDS
from localrun.cli.installation.upgrade import upgrade
from localrun.cli.internal.engine_task import engine_task
from localrun.cli.internal.health import health
from localrun.cli.internal.job import job
from localrun.cli.internal.probe import probe
from localrun.cli.internal.runner import runner
from localrun.cli.models.copy import copy
from localrun.cli.models.create import create
from localrun.cli.models.du import disk_usage
from localrun.cli.models.export import export
from localrun.cli.models.import_ import import_command
from localrun.cli.models.lint import lint
from localrun.cli.models.list import list_command
from localrun.cli.models.lock import lock
from localrun.cli.models.move import move
from localrun.cli.models.outdated import outdated
from localrun.cli.models.plan import plan
from localrun.cli.models.prune import prune
from localrun.cli.models.pull import pull
from localrun.cli.models.push import push
from localrun.cli.models.remove import remove
from localrun.cli.models.search import search
from localrun.cli.models.show import show
from localrun.cli.models.verify import verify
from localrun.cli.output import Output
from localrun.cli.quantizing.imatrix import imatrix
from localrun.cli.quantizing.quantize import quantize
from localrun.cli.reference.manual import manual
from localrun.cli.remote.commands import ABOUT_REMOTE, REMOTE_COMMANDS
from localrun.cli.serving.load import load
from localrun.cli.serving.open_page import open_command
from localrun.cli.serving.ps import ps
from localrun.cli.serving.run import run
from localrun.cli.serving.serve import serve
from localrun.cli.serving.stop import stop
from localrun.cli.serving.why import why
from localrun.cli.serving.worker import worker
from localrun.cli.version import version

if TYPE_CHECKING:
    from collections.abc import Callable

    from typer._click.core import Command

COMMANDS: dict[str, Callable[..., None]] = {
    "run": run,
    "batch": batch,
    "bench": bench,
    "eval": evaluate_command,
    "serve": serve,
    "worker": worker,
    "open": open_command,
    "list": list_command,
    "pull": pull,
    "push": push,
    "search": search,
    "create": create,
    "quantize": quantize,
    "imatrix": imatrix,
    "show": show,
    "rm": remove,
    "cp": copy,
    "mv": move,
    "lint": lint,
    "import": import_command,
    "outdated": outdated,
    "lock": lock,
    "verify": verify,
    "du": disk_usage,
    "prune": prune,
    "export": export,
    "plan": plan,
    "why": why,
    "load": load,
    "ps": ps,
    "stop": stop,
    "connect": connect,
    "launch": launch,
    "doctor": doctor,
    "completion": completion,
    "upgrade": upgrade,
    "version": version,
    "help": help_command,
}
NO_COMMAND = 2  # exit code of a usage error, as without a terminal there is nothing to do
HIDDEN: dict[str, Callable[..., None]] = {
    "ls": list_command,
    "manual": manual,
    "runner": runner,
    "engine-task": engine_task,
    "job": job,
    "probe": probe,
    "health": health,
}


class _Group(Commands):
    def __init__(self, **attributes: Any) -> None:  # noqa: ANN401 - as its base has it
        super().__init__(**attributes)
        self.add(COMMANDS, hidden=False)
        self.add_group("chats", ABOUT_CHATS, CHATS_COMMANDS)
        self.add_group("remote", ABOUT_REMOTE, REMOTE_COMMANDS)
        self.add_group("deploy", ABOUT_DEPLOY, DEPLOY_COMMANDS)
        self.add_group("backend", ABOUT_BACKEND, BACKEND_COMMANDS)
        self.add_group("service", ABOUT_SERVICE, SERVICE_COMMANDS)
        self.add(HIDDEN, hidden=True)


app = Typer(
    cls=_Group,
    name="localrun",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@functools.cache
def command_line() -> Command:
    """Return the app as a command."""
    return get_command(app)


def build_all() -> None:
    """Build all commands at once; a process that runs only one builds only that."""
    build_commands(COMMANDS, hidden=False)
    build_commands(HIDDEN, hidden=True)
    build_commands(CHATS_COMMANDS, hidden=False)
    build_commands(REMOTE_COMMANDS, hidden=False)
    build_commands(DEPLOY_COMMANDS, hidden=False)
    build_commands(BACKEND_COMMANDS, hidden=False)
    build_commands(SERVICE_COMMANDS, hidden=False)
    command_line()


def _print_version(is_set: bool) -> None:
    if is_set:
        Output().line(f"localrun {__version__}")
        raise Exit


@app.callback()
def root(
    context: Context,
    *,
    _version: Annotated[
        bool,
        Option(
            "--version", help="Print the version and exit.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Run language models on your own machine.

    Quick start: localrun run guide "How do I download a model?"
    """
    if context.invoked_subcommand is not None:
        return
    from localrun.cli.menu.menu import can_show_menu, choose_command

    if not can_show_menu():
        Output().page(f"{context.get_help()}\n")
        raise Exit(NO_COMMAND)
    arguments = choose_command()
    if arguments:
        command_line()(arguments, prog_name="localrun")
