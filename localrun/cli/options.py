"""Options that several commands share: their types and the checks of their values."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from localrun.cli.completion import complete_model, one_of
from localrun.errors import UsageError

AsJson = Annotated[bool, Option("--json", help="Print the result as JSON.")]

DeviceOption = Annotated[
    str | None,
    Option(
        "--device",
        help="Device to run on: auto, cpu, cuda, cuda:1, vulkan, metal, ...",
        autocompletion=one_of(("auto", "cpu", "cuda", "metal", "rocm", "vulkan")),
    ),
]

DraftOption = Annotated[
    str | None,
    Option(
        "--draft",
        metavar="auto|none|MODEL",
        help="Small model that drafts tokens for this one (env: LOCALRUN_DRAFT).",
        autocompletion=complete_model,
    ),
]

WorkerOption = Annotated[
    list[str] | None,
    Option(
        "--worker",
        metavar="COMMAND",
        help='Command that reaches another machine, such as "ssh gpu1", for layers that do not '
        "fit here; may be repeated (env: LOCALRUN_WORKERS).",
    ),
]

ContextOption = Annotated[
    str | None,
    Option("--ctx", metavar="TOKENS", help="Context size in tokens, such as 32768 or 32k."),
]

ToolsOption = Annotated[
    list[str] | None,
    Option(
        "--tools",
        metavar="[read|write|shell|FOLDER]",
        help="Let the model read files below the working folder or FOLDER; "
        "write: also edit them, shell: also run commands. Each change asks first.",
    ),
]

McpOption = Annotated[
    list[str] | None,
    Option(
        "--mcp",
        metavar="FILE|COMMAND|URL",
        help="MCP servers whose tools the model may call: a file with mcpServers, a command, or a "
        "URL; may be repeated.",
    ),
]

RecipeArguments = Annotated[
    list[str] | None,
    Option("--arg", metavar="NAME=VALUE", help="Value of an ARG in the Modelfile."),
]


def parse_arguments(texts: list[str]) -> dict[str, str]:
    """Return the values of ``--arg`` options by name.

    Raises:
        UsageError: a text is not NAME=VALUE.
    """
    values = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise UsageError(f"--arg {text} is not NAME=VALUE", hint="--arg base=guide")
        values[name] = value
    return values


def parse_variables(texts: list[str]) -> dict[str, str]:
    """Return the values of ``--env`` options by name.

    Raises:
        UsageError: a text is not NAME=VALUE.
    """
    values = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (equals and name.isidentifier() and name.isascii()):
            raise UsageError(f"--env {name} is not NAME=VALUE", hint="--env LOCALRUN_OFFLINE=1")
        values[name] = value
    return values


def parse_context(text: str | None) -> int | None:
    """Return the tokens of ``--ctx``, None if it is not given.

    Raises:
        UsageError: it is not a number of tokens above 0.
    """
    from localrun.variables import parse_tokens

    num_tokens = None if text is None else parse_tokens(text)
    if text is not None and not num_tokens:
        raise UsageError(
            f"--ctx must be a number of tokens above 0, such as 32768 or 32k, not {text}",
            hint="--ctx 32k",
        )
    return num_tokens


def check_keep_alive(text: str | None) -> None:
    """Check the value of ``--keep-alive``.

    Raises:
        UsageError: it is not a duration; the error names the flag.
    """
    from localrun.variables import parse_duration

    try:
        parse_duration(text or "0")
    except UsageError as error:
        raise UsageError(f"--keep-alive is {error.message}", hint=error.hint) from error
