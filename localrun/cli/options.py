"""Option types that several commands share."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from localrun.errors import UsageError

AsJson = Annotated[bool, Option("--json", help="Print the result as JSON.")]

AskedDevice = Annotated[
    str | None,
    Option("--device", help="What computes: auto, cpu, cuda, cuda:1, vulkan, metal, ..."),
]

RecipeArguments = Annotated[
    list[str] | None, Option("--arg", metavar="NAME=VALUE", help="Value of an ARG of the recipe.")
]


def given_arguments(texts: list[str]) -> dict[str, str]:
    """Return the values of ARG that the user gives.

    Raises:
        UsageError: a text is not NAME=VALUE.
    """
    given = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise UsageError(f"--arg {text} is not NAME=VALUE", hint="--arg base=guide")
        given[name] = value
    return given


def check_keep_alive(text: str | None) -> None:
    """Refuse what is no duration.

    Raises:
        UsageError: names the flag.
    """
    from localrun.settings import parse_duration

    try:
        parse_duration(text or "0")
    except UsageError as error:
        raise UsageError(f"--keep-alive is {error.message}", hint=error.hint) from error
