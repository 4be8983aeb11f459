"""Distribution of tests among processes: by file, and the tests of the chat page by browser.

The tests of a file share servers. Those of a browser, which takes seconds to start, share it.
"""

from __future__ import annotations

import re

from xdist.scheduler import LoadFileScheduling

BROWSER = re.compile(r"tests/browsers/.*\[(chromium|firefox)\b")


class FileAndBrowserScheduling(LoadFileScheduling):  # type: ignore[misc]  # untyped
    """Scheduling whose units are files and browsers."""

    def _split_scope(self, nodeid: str) -> str:
        browser = BROWSER.match(nodeid)
        scope: str = browser[1] if browser else super()._split_scope(nodeid)
        return scope
