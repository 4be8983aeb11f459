"""Shortening of results: the head and the tail of a long text, with the size of the gap."""

from __future__ import annotations

HEAD_SHARE = 0.6  # of what is kept: the beginning usually says more than the end


def shorten(text: str, limit_bytes: int) -> str:
    """Return a text of at most about ``limit_bytes`` bytes of UTF-8; the middle is left out."""
    data = text.encode("utf-8", "replace")
    if len(data) <= limit_bytes:
        return text
    num_head = int(limit_bytes * HEAD_SHARE)
    num_tail = limit_bytes - num_head
    head = data[:num_head].decode("utf-8", "ignore")
    tail = data[len(data) - num_tail :].decode("utf-8", "ignore")
    return f"{head}\n[... {len(data) - limit_bytes} bytes left out ...]\n{tail}"
