"""Unified diff of one edit: the lines that differ between two texts, with context.

An edit replaces one region, so that the common lines before and behind it are all that must be
found. The time is linear, where a general diff takes quadratic time.
"""

from __future__ import annotations

CONTEXT_LINES = 3


def unified_diff(path: str, before: str | None, after: str | None) -> str:
    """Return the diff of two texts; None stands for a file that does not exist."""
    old, new = (before or "").split("\n"), (after or "").split("\n")
    start = _num_common(old, new, min(len(old), len(new)))
    num_end = _num_common(old[::-1], new[::-1], min(len(old), len(new)) - start)
    old_end, new_end = len(old) - num_end, len(new) - num_end
    first = max(0, start - CONTEXT_LINES)
    last = min(len(old), old_end + CONTEXT_LINES)
    lines = [
        *(f" {line}" for line in old[first:start]),
        *(f"-{line}" for line in _shown(old, start, old_end)),
        *(f"+{line}" for line in _shown(new, start, new_end)),
        *(f" {line}" for line in _shown(old, old_end, last)),
    ]
    num_old = sum(line[0] in " -" for line in lines)
    num_new = sum(line[0] in " +" for line in lines)
    head = [
        "--- /dev/null" if before is None else f"--- a/{path}",
        "+++ /dev/null" if after is None else f"+++ b/{path}",
        f"@@ -{_range(first, num_old)} +{_range(first, num_new)} @@",
    ]
    return "\n".join([*head, *lines]) + "\n"


def num_changed(diff: str) -> tuple[int, int]:
    """Return the numbers of added and removed lines of a diff."""
    lines = diff.split("\n")[3:]
    return sum(line[:1] == "+" for line in lines), sum(line[:1] == "-" for line in lines)


def _num_common(old: list[str], new: list[str], most: int) -> int:
    for index in range(most):
        if old[index] != new[index]:
            return index
    return most


def _shown(lines: list[str], start: int, end: int) -> list[str]:
    """Return lines of a range; the empty text behind the last newline is no line."""
    shown = lines[start:end]
    return shown[:-1] if end == len(lines) and shown and shown[-1] == "" else shown


def _range(first: int, count: int) -> str:
    return f"{first + 1 if count else first},{count}"
