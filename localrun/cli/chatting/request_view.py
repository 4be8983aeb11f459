"""View of a request for ``/prompt``: its options with their sources, and the rendered prompt.

Pure. Invariant: the view of a prompt is bounded; what is left out is said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localrun.modelfile.known import LISTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LONGEST = 100_000  # characters of a prompt
BODY_OPTIONS = ("format", "think", "keep_alive")


def option_rows(
    body: Mapping[str, Any], recipe: Iterable[tuple[str, object]]
) -> list[tuple[str, str, str]]:
    """Return name, value and source of the options of a request to ``/api/chat``.

    ``recipe`` has the parameters of the model, which the request overrides.
    """
    own: dict[str, Any] = {**body["options"]}
    own |= {name: body[name] for name in BODY_OPTIONS if name in body}
    others: dict[str, list[str]] = {}
    for name, value in recipe:
        values = others.setdefault(name, [])
        values[:] = [*values, str(value)] if name in LISTS else [str(value)]
    rows = [(name, _shown(value), "chat") for name, value in own.items()]
    rows += [(name, " ".join(one), "model") for name, one in others.items() if name not in own]
    return rows


def prompt_view(prompt: str, longest: int = LONGEST) -> str:
    """Return a prompt, without its middle if it is too long."""
    if len(prompt) <= longest:
        return prompt
    half = longest // 2
    gap = f"\n[... {len(prompt) - 2 * half:,} characters left out ...]\n"
    return prompt[:half] + gap + prompt[-half:]


def _shown(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
