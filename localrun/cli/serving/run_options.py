"""Options of ``run`` that need more than a type, and checks of what is given together."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localrun.cli.prompt import as_text
from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localrun.conversations.message import ChatSummary
    from localrun.services.stored_model import StoredModel
    from localrun.services.workspace import Workspace
    from localrun.settings import Settings

LEVELS = ("low", "medium", "high", "max")
SWITCHES = {"true": True, "false": False}
HINT = '--format json, --format schema.json, or --format \'{"type": "object"}\''


def read_format(text: str | None, option: str = "--format") -> str | dict[str, Any] | None:
    """Return "json" or the schema, None if ``text`` is empty.

    ``text`` is "json", the name of a file with a JSON Schema, or the schema itself.

    Raises:
        UsageError: the file cannot be read, or the schema is not a JSON object.
    """
    if not text or text == "json":
        return text or None
    is_inline = text.lstrip().startswith("{")
    name = option if is_inline else f"{option} {text}"
    try:
        schema = json.loads(
            as_text(text, name) if is_inline else Path(text).read_text(encoding="utf-8")
        )
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror}", hint=HINT) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name} is not JSON: {error}", hint=HINT) from error
    if not isinstance(schema, dict):
        raise UsageError(f"{name} is not a JSON Schema: it must be an object", hint=HINT)
    return schema


def read_think(text: str | None) -> bool | str | None:
    """Return whether a model thinks, or how much; None: as it does by itself.

    Raises:
        UsageError: the text is neither a level nor true or false.
    """
    if text is None or text in LEVELS:
        return text
    if text not in SWITCHES:
        raise UsageError(
            f"--think={text} is none of true, false, {', '.join(LEVELS)}", hint="--think=high"
        )
    return SWITCHES[text]


def check_use(
    *, is_chat: bool, of_chat: Mapping[str, object], of_prompt: Mapping[str, object]
) -> None:
    """Check that no option is given that a chat, or the answer to one prompt, would ignore.

    Raises:
        UsageError: an option is given that has no effect.
    """
    if is_chat:
        _check_unused(of_prompt, "a prompt")
    else:
        _check_unused(of_chat, "a terminal, and no prompt")


def check_model(
    stored: StoredModel,
    *,
    embeds: bool,
    of_text: Mapping[str, object],
    of_vectors: Mapping[str, object],
) -> None:
    """Check that the model answers, or embeds, and that each option has an effect on it.

    Raises:
        UsageError: the model does not answer, or an option is given that has no effect.
    """
    from localrun.services.capabilities import check_can_answer

    if embeds:
        _check_unused(of_text, "a model that writes text")
    else:
        check_can_answer(stored)
        _check_unused(of_vectors, "an embedding model")


def check_draft(workspace: Workspace, stored: StoredModel, name: str | None) -> str | None:
    """Return the draft model of ``--draft`` for a request, None without one.

    Raises:
        LocalrunError: there is no such model, or it cannot draft tokens for this one.
    """
    if name is None:
        return None
    from localrun.services.remotes.stored import NO_NAMES, refuse_draft

    refuse_draft(stored, name)
    if name.lower() in NO_NAMES:
        return name.lower() if stored.remote is None else None
    from localrun.services.drafting.named import named_draft

    return named_draft(workspace.models.find_model, name, stored.shards).name


def find_resumed(chat_id: str | None, *, is_last: bool) -> ChatSummary | None:
    """Return the kept chat of ``--chat`` or ``--continue``, None without these options.

    Raises:
        LocalrunError: there is no such chat.
    """
    if chat_id is None and not is_last:
        return None
    from localrun.cli.chatting.resuming import find_chat

    return find_chat(chat_id, is_last=is_last)


def model_name(model: str | None, resumed: ChatSummary | None) -> str:
    """Return the name of the model: of the argument, else of the chat that goes on.

    Raises:
        UsageError: there is neither.
    """
    if model is not None:
        return model
    if resumed is None:
        raise UsageError("which model?", hint="localrun run guide")
    return resumed.model


def with_device(settings: Settings, flag: str | None) -> Settings:
    """Return the settings with the device of the flag, which must be that of a running server.

    Raises:
        UsageError: the device does not exist, or the running server uses another device.
    """
    from localrun.hardware.choice import check_device

    if flag is not None:
        flag = check_device(flag)
    elif settings.device == "auto":
        return settings
    from localrun.client.launch import find_server
    from localrun.services.machine.devices import check_choice

    client = find_server(settings, wakes=True)
    if client is None:
        chosen = check_choice(flag or settings.device, os.environ)
        return settings.by_flag("LOCALRUN_DEVICE", device=chosen) if flag else settings
    server_device = (client.version() or {}).get("device")
    if flag is not None and server_device is not None and flag != server_device:
        raise UsageError(
            f"the running server uses device {server_device}, not {flag}",
            hint="localrun stop --server   stops it; the next run starts a server with this device",
        )
    return settings


def _check_unused(options: Mapping[str, object], need: str) -> None:
    for name, value in options.items():
        if value:
            raise UsageError(f"{name} needs {need}", hint="localrun run --help")
