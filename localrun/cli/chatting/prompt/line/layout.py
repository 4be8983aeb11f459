"""Layout of the prompt: the message, the search line, the toolbar, and the menu of completions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prompt_toolkit.application import get_app
from prompt_toolkit.filters import has_focus, is_done
from prompt_toolkit.layout import (
    BufferControl,
    CompletionsMenu,
    ConditionalContainer,
    Dimension,
    Float,
    FloatContainer,
    FormattedTextControl,
    HSplit,
    Layout,
    Window,
)
from prompt_toolkit.layout.processors import (
    AppendAutoSuggestion,
    ConditionalProcessor,
    HighlightIncrementalSearchProcessor,
    HighlightSelectionProcessor,
    TabsProcessor,
)
from prompt_toolkit.styles import Style
from prompt_toolkit.widgets import SearchToolbar

from localrun.cli.chatting.prompt.line.paste_display import PasteDisplay
from localrun.cli.chatting.prompt.message_text import CONTINUED, PROMPT

if TYPE_CHECKING:
    from collections.abc import Callable

    from prompt_toolkit.buffer import Buffer
    from prompt_toolkit.formatted_text import StyleAndTextTuples

    from localrun.cli.chatting.prompt.pastes import FoldedPastes

MENU_LINES = 8
STYLE = Style.from_dict(
    {
        "auto-suggestion": "dim",
        "paste": "reverse",
        "toolbar": "noreverse dim",
        "toolbar.dim": "dim",
        "toolbar.bold": "nodim bold",
        "toolbar.warning": "nodim bold ansiyellow",
        "toolbar.hint": "nodim",
    }
)


def prompt_layout(
    buffer: Buffer, pastes: FoldedPastes, toolbar: Callable[[], StyleAndTextTuples]
) -> Layout:
    """Return the layout of a prompt for the text of a buffer."""
    search = SearchToolbar()
    control = BufferControl(
        buffer=buffer,
        search_buffer_control=search.control,
        preview_search=True,
        include_default_input_processors=False,
        input_processors=[
            HighlightIncrementalSearchProcessor(),
            HighlightSelectionProcessor(),
            ConditionalProcessor(AppendAutoSuggestion(), has_focus(buffer) & ~is_done),
            PasteDisplay(pastes),
            TabsProcessor(char1=" ", char2=" "),
        ],
    )
    message = Window(
        control,
        height=_message_height,
        get_line_prefix=_line_prefix,
        wrap_lines=True,
        dont_extend_height=True,
    )
    menu = Float(xcursor=True, ycursor=True, transparent=True, content=CompletionsMenu(MENU_LINES))
    line = Window(FormattedTextControl(toolbar), height=1, style="class:toolbar")
    shown = ConditionalContainer(line, ~is_done)
    below = Window()  # what a longer message has left
    return Layout(HSplit([FloatContainer(message, [menu]), search, shown, below]), control)


def _message_height() -> Dimension:
    """Return the height of the message: enough for the menu while it is shown."""
    buffer = get_app().current_buffer
    return Dimension(min=MENU_LINES) if buffer.complete_state is not None else Dimension()


def _line_prefix(line_number: int, wrap_count: int) -> StyleAndTextTuples:
    if wrap_count:
        return []
    return [("class:prompt", CONTINUED if line_number else PROMPT)]
