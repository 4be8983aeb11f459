"""Display of folded pastes in the line editor: a marker in the place of a private character."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prompt_toolkit.formatted_text.utils import fragment_list_to_text
from prompt_toolkit.layout.processors import Processor, Transformation

from localrun.cli.chatting.prompt.pastes import FOLDED, is_folded

if TYPE_CHECKING:
    from prompt_toolkit.formatted_text import StyleAndTextTuples
    from prompt_toolkit.layout.processors import TransformationInput

    from localrun.cli.chatting.prompt.pastes import FoldedPastes


class PasteDisplay(Processor):
    """Shows a folded paste by its marker."""

    def __init__(self, pastes: FoldedPastes) -> None:
        self._pastes = pastes

    def apply_transformation(self, transformation_input: TransformationInput) -> Transformation:
        """Return a line with its markers; the cursor moves over a marker as over one letter."""
        fragments = transformation_input.fragments
        if FOLDED.search(fragment_list_to_text(fragments)) is None:
            return Transformation(fragments)
        before = transformation_input.document.lines[: transformation_input.lineno]
        number = sum(len(FOLDED.findall(line)) for line in before)
        shown, starts = self._shown(fragments, number)
        return Transformation(
            shown,
            source_to_display=lambda position: _start_of(starts, position),
            display_to_source=lambda column: _position_of(starts, column),
        )

    def _shown(
        self, fragments: StyleAndTextTuples, number: int
    ) -> tuple[StyleAndTextTuples, list[int]]:
        """Return the fragments, and where each character of the text is shown."""
        shown: StyleAndTextTuples = []
        starts: list[int] = []
        width = 0
        for style, text, *_ in fragments:
            for letter in text:
                starts.append(width)
                number += is_folded(letter)
                part = self._pastes.marker(letter, number) if is_folded(letter) else letter
                shown.append((f"{style} class:paste" if is_folded(letter) else style, part))
                width += len(part)
        return shown, [*starts, width]


def _start_of(starts: list[int], position: int) -> int:
    return starts[min(position, len(starts) - 1)] + max(0, position - len(starts) + 1)


def _position_of(starts: list[int], column: int) -> int:
    """Return the character that is shown at a column."""
    from bisect import bisect_right

    return max(0, bisect_right(starts, column) - 1)
