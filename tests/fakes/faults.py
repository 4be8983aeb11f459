"""What a fake hub can be told to do wrong, as values: ``Fault.cut(1000, path=".gguf", count=2)``.

Each fault strikes ``count`` answers and is then used up. The first fault in the
list that fits an answer strikes it; an answer is struck by one fault at most.
A fault fits the answers that carry bytes of a file, or with ``for_metadata`` all
others: JSON, HEAD, and the redirects of a hub with a CDN. ``path`` must be part
of the request's path and query, or of the file's full name (``owner/repo/file``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, TypedDict, Unpack

if TYPE_CHECKING:
    from tests.fakes.hub_wire import Reply, Request


class FaultKind(StrEnum):
    CUT = "cut"
    DRIP = "drip"
    EMPTY = "empty"
    ETAG = "etag"
    EXPIRE = "expire"
    FLIP = "flip"
    GARBAGE = "garbage"
    IGNORE_RANGES = "ignore_ranges"
    LENGTH = "length"
    REDIRECT = "redirect"
    STALL = "stall"
    STATUS = "status"
    WRONG_RANGE = "wrong_range"


class Where(TypedDict, total=False):
    """Which answers a fault strikes."""

    path: str
    count: int
    for_metadata: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing to do wrong; made by the class methods."""

    kind: FaultKind
    path: str = ""
    count: int = 1
    for_metadata: bool = False
    amount: int = 0  # bytes, bytes per second, or a status: the class methods say which
    num_bytes: int = 0
    target: str = ""
    retry_after_s: int | None = None
    reset: bool = False

    @classmethod
    def cut(cls, after: int, *, reset: bool = False, **where: Unpack[Where]) -> Fault:
        """Close the connection after ``after`` bytes of the body, with ``reset`` by a RST."""
        return cls(kind=FaultKind.CUT, amount=after, reset=reset, **where)

    @classmethod
    def drip(cls, bytes_per_s: int, **where: Unpack[Where]) -> Fault:
        """Send the body this slowly, in twenty pieces a second."""
        return cls(kind=FaultKind.DRIP, amount=bytes_per_s, **where)

    @classmethod
    def empty(cls, **where: Unpack[Where]) -> Fault:
        """Answer with the right status and no body."""
        return cls(kind=FaultKind.EMPTY, **where)

    @classmethod
    def etag(cls, value: str = '"another"', **where: Unpack[Where]) -> Fault:
        """Answer as if it were another version of the file, by its ETag."""
        return cls(kind=FaultKind.ETAG, target=value, **where)

    @classmethod
    def expire(cls, **where: Unpack[Where]) -> Fault:
        """Answer a GET at the CDN with 403, and that signed URL from then on; a new one works."""
        return cls(kind=FaultKind.EXPIRE, **where)

    @classmethod
    def flip(cls, at: int, num_bytes: int = 1, **where: Unpack[Where]) -> Fault:
        """Change the bytes of the file (not of the body) from ``at`` on, where they are sent."""
        return cls(kind=FaultKind.FLIP, amount=at, num_bytes=num_bytes, **where)

    @classmethod
    def garbage(cls, **where: Unpack[Where]) -> Fault:
        """Answer 200 with a page of HTML where JSON is due."""
        return cls(kind=FaultKind.GARBAGE, **({"for_metadata": True} | where))

    @classmethod
    def ignore_ranges(cls, **where: Unpack[Where]) -> Fault:
        """Answer a request for a part with 200 and the whole file."""
        return cls(kind=FaultKind.IGNORE_RANGES, **where)

    @classmethod
    def length(cls, off_by: int, **where: Unpack[Where]) -> Fault:
        """Send the right body under a Content-Length that is off by this much, then close."""
        return cls(kind=FaultKind.LENGTH, amount=off_by, **where)

    @classmethod
    def redirect(cls, to: str, **where: Unpack[Where]) -> Fault:
        """Answer 302 with the Location ``to``."""
        return cls(kind=FaultKind.REDIRECT, target=to, **where)

    @classmethod
    def stall(cls, after: int = 0, **where: Unpack[Where]) -> Fault:
        """Send ``after`` bytes, then nothing until the client leaves or the hub closes."""
        return cls(kind=FaultKind.STALL, amount=after, **where)

    @classmethod
    def status(
        cls, status: int, *, retry_after_s: int | None = None, **where: Unpack[Where]
    ) -> Fault:
        """Answer with this status."""
        return cls(kind=FaultKind.STATUS, amount=status, retry_after_s=retry_after_s, **where)

    @classmethod
    def wrong_range(cls, off_by: int, **where: Unpack[Where]) -> Fault:
        """Answer a request for a part with a part that starts elsewhere, and say so."""
        return cls(kind=FaultKind.WRONG_RANGE, amount=off_by, **where)

    def fits(self, request: Request, reply: Reply) -> bool:
        """Return whether this fault strikes the answer."""
        if self.kind is FaultKind.EXPIRE and request.origin != "cdn":
            return False
        if self.kind in {FaultKind.IGNORE_RANGES, FaultKind.WRONG_RANGE} and not reply.is_part:
            return False
        is_metadata = request.method == "HEAD" or not reply.is_file
        is_place = self.path in request.path or self.path in reply.name
        return is_place and is_metadata == self.for_metadata


def take_fault(faults: list[Fault], request: Request, reply: Reply) -> Fault | None:
    """Return the fault that strikes this answer, used up by one; None when none fits.

    The caller holds the lock of the list.
    """
    for index, fault in enumerate(faults):
        if fault.fits(request, reply):
            faults[index : index + 1] = (
                [replace(fault, count=fault.count - 1)] if fault.count > 1 else []
            )
            return fault
    return None
