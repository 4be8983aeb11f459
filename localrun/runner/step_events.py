"""Events with the text and the scores of a step.

An event wakes the server, which takes a processor from the threads that compute the next step. So
the text of answers that are not streamed, which nobody reads yet, is held back for some tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.runner.messages import Step

if TYPE_CHECKING:
    from collections.abc import Sequence as Sequences

    from localrun.engine.engine import StepOutput

MAX_HELD = 16  # outputs of one sequence


class StepEvents:
    """Builder of the events of all steps; not thread-safe.

    Invariant: all text of a sequence is sent in its order, and before its terminal event.
    """

    def __init__(self) -> None:
        self._held: dict[int, list[str]] = {}  # texts by request id, from the first output on

    def next_event(self, outputs: Sequences[StepOutput]) -> Step | None:
        """Return the text and the scores that may be sent after a step, None if there are none."""
        deltas, scores = [], []
        for output in outputs:
            text = self._take(output)
            if text is None:
                continue
            seq = output.seq
            released = seq.release_scores() if seq.scores else ()
            if released:
                scores.append((seq.request_id, released))
            if text or released:
                deltas.append((seq.request_id, text))
        return Step(deltas=tuple(deltas), scores=tuple(scores)) if deltas else None

    def _take(self, output: StepOutput) -> str | None:
        """Return the text of a sequence that is sent now, None while it is held back.

        The first text is sent at once: the time of the first token is measured by it.
        """
        seq = output.seq
        if seq.reader is not None:
            return output.text
        if output.finish is not None:
            return "".join([*self._held.pop(seq.request_id, ()), output.text])
        held = self._held.get(seq.request_id)
        if held is None:
            if output.text:
                self._held[seq.request_id] = []
            return output.text
        held.append(output.text)
        if len(held) < MAX_HELD:
            return None
        self._held[seq.request_id] = []
        return "".join(held)
