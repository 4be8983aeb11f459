"""Choice among the addresses of a remote model: health, load, and cached prefixes.

An address that failed is avoided for a while, which doubles with each failure; then a probe asks
it before a request does. Among the healthy ones, the address that has the longest prefix of the
conversation in its cache comes first, unless it is much busier than another; then the least busy
one. Used on one event loop; nothing is asked without a request.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from localrun.remote.model import RemoteAddress, RemoteModel

FIRST_AVOID_S, LONGEST_AVOID_S = 1.0, 30.0
SLACK = 4  # more open requests than the least busy address that a cached prefix is worth
MAX_PREFIXES = 20_000


@dataclass(slots=True)
class AddressState:
    """Load and health of one address."""

    num_open: int = 0
    num_failures: int = 0  # since the last success
    avoided_until: float = 0.0
    last_used: int = 0  # the number of the request
    is_probed: bool = False  # a probe is under way

    @property
    def is_healthy(self) -> bool:
        """Return whether the last request to the address succeeded."""
        return self.num_failures == 0


class Addresses:
    """State of all addresses of a process, by their URLs."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._states: dict[str, AddressState] = {}
        self._prefixes: OrderedDict[bytes, str] = OrderedDict()  # the URL that computed a prefix
        self._num_requests = 0

    def state(self, address: RemoteAddress) -> AddressState:
        """Return the state of an address."""
        return self._states.setdefault(address.url, AddressState())

    def order(self, model: RemoteModel, prefixes: Sequence[bytes] = ()) -> list[RemoteAddress]:
        """Return the addresses in the order in which a request tries them."""
        healthy = [each for each in model.addresses if self.state(each).is_healthy]
        healthy.sort(key=self._busyness)
        cached = self._cached(healthy, prefixes)
        if cached is not None:
            healthy.remove(cached)
            healthy.insert(0, cached)
        others = [each for each in model.addresses if not self.state(each).is_healthy]
        return healthy + sorted(others, key=lambda each: self.state(each).avoided_until)

    def due(self, model: RemoteModel) -> list[RemoteAddress]:
        """Return the addresses to probe: they failed, and their time has passed."""
        states = [(each, self.state(each)) for each in model.addresses]
        now = self._clock()
        return [
            each
            for each, state in states
            if not state.is_healthy and not state.is_probed and state.avoided_until <= now
        ]

    @contextlib.contextmanager
    def in_use(self, address: RemoteAddress, prefixes: Sequence[bytes] = ()) -> Iterator[None]:
        """Count a request to an address as open in the block, and its prefixes as cached there."""
        state = self.state(address)
        self._num_requests += 1
        state.num_open, state.last_used = state.num_open + 1, self._num_requests
        for prefix in prefixes:
            self._prefixes[prefix] = address.url
            self._prefixes.move_to_end(prefix)
        while len(self._prefixes) > MAX_PREFIXES:
            self._prefixes.popitem(last=False)
        try:
            yield
        finally:
            state.num_open -= 1

    def succeeded(self, address: RemoteAddress) -> None:
        """Record that an address answered."""
        self.state(address).num_failures = 0

    def failed(self, address: RemoteAddress) -> None:
        """Record that an address did not answer, and avoid it for a while."""
        state = self.state(address)
        state.num_failures += 1
        wait_s = FIRST_AVOID_S * 2 ** min(state.num_failures - 1, 10)
        state.avoided_until = self._clock() + min(wait_s, LONGEST_AVOID_S)

    def _busyness(self, address: RemoteAddress) -> tuple[int, int]:
        state = self.state(address)
        return state.num_open, state.last_used

    def _cached(
        self, healthy: Sequence[RemoteAddress], prefixes: Sequence[bytes]
    ) -> RemoteAddress | None:
        """Return the address of the longest known prefix, unless it is much busier."""
        by_url = {each.url: each for each in healthy}
        for prefix in reversed(prefixes):
            address = by_url.get(self._prefixes.get(prefix, ""))
            if address is not None:
                is_free = self.state(address).num_open <= self._busyness(healthy[0])[0] + SLACK
                return address if is_free else None
        return None
