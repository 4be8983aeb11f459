"""The commands, put together."""

from __future__ import annotations

from typing import Annotated

from typer import Exit, Option, Typer

from localrun import __version__
from localrun.cli.copy import copy
from localrun.cli.create import create
from localrun.cli.du import disk_usage
from localrun.cli.export import export
from localrun.cli.help import help_command
from localrun.cli.import_ import import_command
from localrun.cli.job import job
from localrun.cli.lint import lint
from localrun.cli.list import list_command
from localrun.cli.lock import lock
from localrun.cli.move import move
from localrun.cli.outdated import outdated
from localrun.cli.output import Output
from localrun.cli.plan import plan
from localrun.cli.probe import probe
from localrun.cli.prune import prune
from localrun.cli.ps import ps
from localrun.cli.pull import pull
from localrun.cli.push import push
from localrun.cli.quantizer import quantizer
from localrun.cli.remove import remove
from localrun.cli.run import run
from localrun.cli.runner import runner
from localrun.cli.search import search
from localrun.cli.serve import serve
from localrun.cli.show import show
from localrun.cli.stop import stop
from localrun.cli.verify import verify
from localrun.cli.version import version
from localrun.cli.why import why

app = Typer(
    name="localrun",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(run)
app.command()(serve)
app.command("list")(list_command)
app.command("ls", hidden=True)(list_command)
app.command()(pull)
app.command()(push)
app.command()(search)
app.command()(create)
app.command()(show)
app.command("rm")(remove)
app.command("cp")(copy)
app.command("mv")(move)
app.command()(lint)
app.command("import")(import_command)
app.command()(outdated)
app.command()(lock)
app.command()(verify)
app.command("du")(disk_usage)
app.command()(prune)
app.command()(export)
app.command()(plan)
app.command()(why)
app.command()(ps)
app.command()(stop)
app.command()(version)
app.command("help")(help_command)
app.command(hidden=True)(runner)
app.command(hidden=True)(quantizer)
app.command(hidden=True)(job)
app.command(hidden=True)(probe)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        Output().line(f"localrun {__version__}")
        raise Exit


@app.callback()
def root(
    *,
    _version: Annotated[
        bool,
        Option(
            "--version", help="Print the version and leave.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Run language models on your own machine.

    Begin with: localrun run guide "How do I download a model?"
    """
