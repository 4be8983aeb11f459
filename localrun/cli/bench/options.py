"""Options of ``bench`` that need more than a type."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from localrun.benchmarks.report import Report
    from localrun.services.stored_model import StoredModel

MOST_COUNTS = 16
LARGEST_COUNT = 1_000_000
MAX_PICTURE_BYTES = 20 * 1024 * 1024
PICTURES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
}


def read_counts(text: str, option: str) -> tuple[int, ...]:
    """Return the numbers of a list such as ``1,4,16``.

    Raises:
        UsageError: it is none.
    """
    parts = [part.strip() for part in text.split(",")]
    are_numbers = all(part.isascii() and part.isdigit() and len(part) <= 7 for part in parts)  # noqa: PLR2004 - digits of the largest
    counts = tuple(int(part) for part in parts) if are_numbers else ()
    if not counts or len(counts) > MOST_COUNTS or not all(0 < n <= LARGEST_COUNT for n in counts):
        raise UsageError(f"{option} {text} is no list of numbers", hint=f"{option} 1,4,16")
    return counts


def read_picture(name: str) -> str:
    """Return a picture as a data URL.

    Raises:
        UsageError: the file is no picture that APIs take.
    """
    path = Path(name)
    media_type = PICTURES.get(path.suffix.lower())
    if media_type is None:
        raise UsageError(f"--image {name} is none of {', '.join(PICTURES)}")
    try:
        content = path.read_bytes() if path.stat().st_size <= MAX_PICTURE_BYTES else None
    except OSError as error:
        raise UsageError(f"--image {name} cannot be read: {error.strerror}") from error
    if content is None:
        raise UsageError(f"--image {name} has more than {MAX_PICTURE_BYTES // 2**20} MiB")
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def check_comparison(options: Mapping[str, object]) -> None:
    """Check that no option is given that a comparison of servers does not use.

    Raises:
        UsageError: one is.
    """
    given = [name for name, value in options.items() if value]
    if given:
        raise UsageError(
            f"{given[0]} and --compare exclude each other",
            hint="localrun bench MODEL --compare URL --json",
        )


def check_models(before: Report, models: Sequence[StoredModel], name: str | None) -> None:
    """Check that an earlier report has a figure of each model.

    Raises:
        UsageError: it has none of one.
    """
    measured = {row.model for row in before.rows}
    for model in models:
        if model.name not in measured:
            known = ", ".join(sorted(measured)) or "no model"
            raise UsageError(
                f"{name} has no figures of {model.name}, only of {known}",
                hint=f"localrun bench {model.name} --save FILE",
            )
