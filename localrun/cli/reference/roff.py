r"""Manual page of this program: ``localrun(1)`` in the man macros of roff.

A line that begins with a dot or an apostrophe is a request; a backslash begins an escape; a hyphen
is typographic unless it is ``\-``. Text is escaped, so that all of this is only what is meant here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun import __version__
from localrun.cli.reference.tree import command_pages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.cli.reference.tree import CommandPage, Term

EXIT_CODES = {
    0: "The command succeeded.",
    1: "A bug, or an unknown failure.",
    2: "The command or a request is wrong.",
    3: "Something was not found.",
    4: "A file is damaged, or not what it claims to be.",
    5: "The network, a hub or the server cannot be reached.",
    6: "llama.cpp, a runner or a device failed.",
    7: "The queue of the server is full.",
    8: "A disk is full or not writable.",
    9: "A record of localrun batch, or a task of localrun eval, was not answered.",
    130: "Ctrl-C.",
}
FILES = {
    "~/.local/share/localrun": "Models.",
    "~/.cache/localrun": "Saved prompts, indexes of models.",
    "~/.local/state/localrun/log": "Logs of the background server.",
    "~/.config/localrun": "Catalog and service of the user.",
}
SPECIAL = str.maketrans(
    {"\\": r"\e", "-": r"\-", "`": r"\(ga", "'": r"\(aq", "~": r"\(ti", "^": r"\(ha"}
)


def as_roff() -> str:
    """Return the whole manual page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield f'.TH LOCALRUN 1 "" "localrun {__version__}" "User Commands"'
    yield from (".SH NAME", r"localrun \- run language models on your own machine")
    yield from (".SH SYNOPSIS", ".B localrun", r".I COMMAND", r"[\fIOPTIONS\fR] [\fIARGUMENTS\fR]")
    yield ".SH DESCRIPTION"
    yield _text("localrun downloads language models, runs them on this machine, and serves them.")
    yield _text("A first answer, from the model that is included:")
    yield from _code(['localrun run guide "How do I download a model?"'])
    yield ".SH COMMANDS"
    for page in command_pages():
        yield from _section(page)
    yield from (".SH ENVIRONMENT", _text("localrun help server   lists the LOCALRUN_* variables."))
    yield from (".SH FILES", *_definitions(FILES))
    codes = {str(code): meaning for code, meaning in EXIT_CODES.items()}
    yield from (".SH EXIT STATUS", *_definitions(codes))
    yield from (".SH SEE ALSO", _text("localrun help   lists the topics of help."))


def _section(page: CommandPage) -> Iterator[str]:
    yield f'.SS "{_text(page.name)}"'
    yield _text(page.usage)
    for paragraph in page.paragraphs:
        yield from (".PP", _text(paragraph))
    for term in (*page.arguments, *page.options):
        yield from (".TP", _head(term), _text(term.meaning))
    if page.examples:
        yield from _code(page.examples)


def _head(term: Term) -> str:
    names = ", ".join(rf"\fB{_text(name)}\fR" for name in term.names)
    return rf"{names} \fI{_text(term.value)}\fR" if term.value else names


def _definitions(meanings: dict[str, str]) -> Iterator[str]:
    for name, meaning in meanings.items():
        yield from (".TP", rf"\fB{_text(name)}\fR", _text(meaning))


def _code(lines: list[str] | tuple[str, ...]) -> Iterator[str]:
    yield from (".PP", ".RS 4", ".EX", *map(_text, lines), ".EE", ".RE")


def _text(text: str) -> str:
    escaped = text.translate(SPECIAL)
    return rf"\&{escaped}" if escaped.startswith(".") else escaped
