"""``localrun open``."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from localrun.cli.chats.completion import complete_chat
from localrun.cli.output import Output


def open_command(
    *,
    chat: Annotated[
        str | None,
        Option(help="Id of a kept chat, or its beginning.", autocompletion=complete_chat),
    ] = None,
    no_browser: Annotated[
        bool, Option("--no-browser", help="Print the address, and open no browser.")
    ] = False,
) -> None:
    """Open the chat page in the browser; start the server if it is not running.

    Example: localrun open
    """
    import os

    from localrun.client.launch import ensure_server
    from localrun.conversations.location import open_conversations
    from localrun.settings import load_settings

    found = open_conversations(os.environ).find(chat) if chat else None
    settings = load_settings(os.environ)
    ensure_server(settings)
    address = f"{settings.url}/" + (f"#/chat/{found.id}" if found else "")
    Output().line(address)
    if not no_browser and not _has_opened(address):
        Output().note("no browser can be opened here; open the address in one")


def _has_opened(address: str) -> bool:
    import webbrowser

    try:
        return webbrowser.open(address)
    except webbrowser.Error:
        return False
