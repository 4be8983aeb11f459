"""Text that a template produced, made fit to leave the process: valid Unicode, bounded."""

from __future__ import annotations

LONGEST_REASON = 300  # characters of a foreign error that a client is shown


def well_formed(text: str) -> str:
    """Return a text that has a UTF-8 form: pairs of surrogates joined, lone ones replaced."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def reason_of(error: BaseException) -> str:
    """Return a foreign error's text in one line."""
    line = " ".join(str(error)[: 10 * LONGEST_REASON].split())
    short = line if len(line) <= LONGEST_REASON else line[:LONGEST_REASON] + "..."
    return well_formed(short) or type(error).__name__
