"""``localrun help``."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from localrun.cli.output import Output

GENERATED = {"parameters": "parameters of PARAMETER and of the APIs' options"}
TOPICS = {
    "modelfile": "syntax of a Modelfile",
    "names": "syntax of model names",
    "api": "HTTP API of the server",
    **GENERATED,
}


def help_command(
    topic: Annotated[str | None, Argument(help="Help topic.")] = None,
) -> None:
    """Print a help topic, or list the topics.

    Example: localrun help modelfile
    """
    from importlib.resources import files

    from localrun.errors import NotFoundError

    output = Output()
    if topic is None:
        output.table((), list(TOPICS.items()))
    elif topic == "parameters":
        _show_parameters(output)
    elif topic in TOPICS:
        output.text(files("localrun").joinpath("docs", "help", f"{topic}.md").read_text())
    else:
        raise NotFoundError(
            f"no help topic is named {topic}; the topics are {', '.join(TOPICS)}",
            hint=f"localrun {topic} --help   prints the help of a command",
        )


def _show_parameters(output: Output) -> None:
    from localrun.modelfile.known import PARAMETERS
    from localrun.modelfile.parameters import describe_values

    output.table(
        ("NAME", "VALUE", "MEANING"),
        [
            (known.name, describe_values(known), known.about)
            for known in PARAMETERS
            if not (known.deprecated or known.removed)
        ],
    )
