"""Continuation of a final assistant message: a prompt that ends inside the message.

The template renders the conversation with a sentinel at the end of the message, and the
prompt is cut at the sentinel. The markup that the template writes before the message stays,
and the end-of-turn token goes. A message without content but with reasoning is continued
inside the reasoning.

If the template does not render the sentinel (it raises an error for a final assistant
message, or leaves out reasoning), the message follows the generation prompt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.chat.adaptation import Message, Render
    from localrun.chat.profiles.profile import Profile

SENTINEL = "\ufdd2"  # a noncharacter of Unicode: text never needs it


def can_continue(messages: Sequence[Message]) -> bool:
    """Return whether the last message is an assistant message without tool calls."""
    return bool(messages) and _is_text_of_assistant(messages[-1])


def continued_prompt(render: Render, messages: Sequence[Message], profile: Profile) -> str:
    """Return the prompt that ends with the text of the last message.

    Raises:
        UsageError: the template refuses the earlier messages, or fails on them.
    """
    *earlier, final = messages
    final = with_separate_reasoning(final, profile)
    field = "content" if final.get("content") else "reasoning_content"
    text = final.get(field) or ""
    if text:
        rendered = _rendered(render, [*earlier, {**final, field: text + SENTINEL}])
        before, sentinel, _ = rendered.rpartition(SENTINEL)
        if sentinel:
            return before.replace(SENTINEL, "")
    prompt = render(earlier, add_generation_prompt=True)
    return prompt + _following(prompt, final, profile)


def continued_content(messages: Sequence[Message], profile: Profile) -> str:
    """Return the content of the continued message; empty if its reasoning is continued."""
    if not can_continue(messages):
        return ""
    return with_separate_reasoning(messages[-1], profile).get("content") or ""


def open_tag(message: Message, profile: Profile) -> str:
    """Return the reasoning tag that the prompt of a continued message ends behind.

    The opening tag if the reasoning is continued, else the closing tag. Empty if the model has no
    reasoning tags.
    """
    thinking = profile.thinking
    if thinking is None:
        return ""
    final = with_separate_reasoning(message, profile)
    is_in_reasoning = bool(final.get("reasoning_content")) and not final.get("content")
    return thinking.opening if is_in_reasoning else thinking.closing


def with_separate_reasoning(message: Message, profile: Profile) -> Message:
    """Return the message with the reasoning at the start of its content as ``reasoning_content``.

    Clients without a field for reasoning send it in the content, between tags.
    """
    content, thinking = message.get("content") or "", profile.thinking
    if thinking is None or message.get("reasoning_content"):
        return message
    text = content.lstrip()
    if not text.startswith(thinking.opening):
        return message
    inside, closing, answer = text.removeprefix(thinking.opening).partition(thinking.closing)
    reasoning = inside.strip("\n") if closing else inside.lstrip("\n")
    return {**message, "reasoning_content": reasoning, "content": answer.lstrip("\n")}


def _is_text_of_assistant(message: Message) -> bool:
    return message.get("role") == "assistant" and not message.get("tool_calls")


def _rendered(render: Render, messages: Sequence[Message]) -> str:
    """Return the conversation without a generation prompt; empty if the template refuses it."""
    try:
        return render(messages, add_generation_prompt=False)
    except UsageError:
        return ""


def _following(prompt: str, final: Message, profile: Profile) -> str:
    """Return the text of the message that follows a generation prompt."""
    content, thinking = final.get("content") or "", profile.thinking
    if thinking is None:
        return content
    is_open = prompt.rstrip().endswith(thinking.opening.rstrip())
    reasoning = final.get("reasoning_content") or ""
    opening = thinking.opening if reasoning and not is_open else ""
    closing = profile.thought_end if content and (reasoning or is_open) else ""
    return opening + reasoning + closing + content
