"""Load of a chat's model, with its progress, and the first line of the chat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localrun.cli.chatting.session import ContextUse
from localrun.cli.output import model_size
from localrun.cli.serving.answer import load_status

if TYPE_CHECKING:
    from localrun.cli.chatting.chat import Chat

LATEST = ":latest"


def load(chat: Chat) -> None:
    """Load the model of a chat and print its line.

    Raises:
        LocalrunError: the model does not load.
    """
    settings, client = chat.session.settings, chat.connect()
    model = settings.request_model
    fields = {
        "num_ctx": settings.sampling.get("num_ctx"),
        "draft": settings.sampling.get("draft"),
        "keep_alive": settings.keep_alive,
    }
    body = {key: value for key, value in fields.items() if value is not None}
    for frame in client.load({"model": model, **body}):
        chat.transcript.status("" if frame["done"] else load_status(frame, model))
    state = next((one for one in client.states() if one["name"] == model), {})
    chat.session.context = ContextUse(chat.session.context.used, _context(chat, state))
    chat.transcript.aside(first_line(chat, state))


def first_line(chat: Chat, state: dict[str, Any]) -> str:
    """Return the model, its size, quantization and device, and the context."""
    stored = chat.workspace.models.find_model(chat.session.settings.request_model)
    details = stored.details
    parts = [stored.name.removesuffix(LATEST), model_size(stored)]
    parts += [one for one in (details.parameter_size, details.quantization_level) if one]
    if state.get("size_bytes"):
        parts.append(_device(state["size_bytes"], state.get("size_gpu_bytes", 0)))
    if state.get("context"):
        note = f" ({state['context_note']})" if state.get("context_note") else ""
        parts.append(f"context {state['context']} tokens{note}")
    return " · ".join(parts)


def _context(chat: Chat, state: dict[str, Any]) -> int:
    """Return the context in tokens, 0 if it is not known; of a remote model, what was stated."""
    if not state.get("context"):
        stored = chat.workspace.models.find_model(chat.session.settings.request_model)
        return (stored.details.context_length or 0) if stored.remote else 0
    return int(state["context"])


def _device(size_bytes: int, on_gpu_bytes: int) -> str:
    percent = round(100 * on_gpu_bytes / size_bytes)
    if percent in {0, 100}:
        return "GPU" if percent else "CPU"
    return f"{percent} % GPU"
