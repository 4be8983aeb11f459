"""Media stage of a runner: reads the media of a request before its prompt is prepared.

    reader thread -> MediaStage -> Preparation -> engine

Requests without media pass at once. The threads decode and resize, mostly without the GIL. What was
read replaces the bytes in the request's messages (`READ`).
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from localrun.chat.media_marks import READ
from localrun.errors import LocalrunError
from localrun.runner.events import cancelled_event, failed_event
from localrun.runner.messages import CANCELLED, Failed, Generate, Tokenize

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.runner.media.reading import MediaReader, Medium
    from localrun.runner.messages import Prepared, Terminal

MAX_THREADS = 2
BUG = "an image or a sound could not be read: an error inside localrun, which its log describes"
_log = logging.getLogger(__name__)


class MediaStage:
    """Requests whose media are being read.

    Threads: all methods may be called from any thread.
    """

    def __init__(
        self,
        reader: MediaReader,
        submit: Callable[[Prepared], None],
        send: Callable[[Terminal], None],
    ) -> None:
        """``submit`` takes a request whose media have been read."""
        self._reader = reader
        self._submit = submit
        self._send = send
        self._executor = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="media")
        self._lock = threading.Lock()  # guards _cancelled; no other lock is taken while it is held
        self._cancelled: dict[int, bool] = {}  # by the id of each request that is here

    def submit(self, request: Prepared) -> None:
        """Read the media of a request and pass it on."""
        media = _media(request)
        if not media:
            self._submit(request)
            return
        with self._lock:
            self._cancelled[request.request_id] = False
        self._executor.submit(self._run, request, media)

    def cancel(self, request_id: int) -> bool:
        """Return whether a request is here; if so, it ends as soon as its medium is decoded."""
        with self._lock:
            if request_id not in self._cancelled:
                return False
            self._cancelled[request_id] = True
            return True

    def close(self) -> None:
        """Stop reading; do not wait for a medium that is being decoded."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _run(self, request: Prepared, media: list[Medium]) -> None:
        event: Terminal | None = None
        try:
            for medium in media:
                if not self._is_cancelled(request.request_id):
                    medium[READ], medium["data"] = self._reader.read(medium), b""
        except LocalrunError as error:
            event = failed_event(request.request_id, error)
        except Exception:  # noqa: BLE001 - a bug must end one request, not the model's process
            _log.exception("the media of request %s cannot be read", request.request_id)
            event = failed_event(request.request_id, LocalrunError(BUG))
        with self._lock:
            is_cancelled = self._cancelled.pop(request.request_id)
        if is_cancelled:
            self._send(_cancelled_event(request))
        elif event is not None:
            self._send(event)
        else:
            self._submit(request)

    def _is_cancelled(self, request_id: int) -> bool:
        with self._lock:
            return self._cancelled[request_id]


def _media(request: Prepared) -> list[Medium]:
    if isinstance(request, Generate):
        return request.generation.prompt.all_media
    return request.prompt.all_media if isinstance(request, Tokenize) else []


def _cancelled_event(request: Prepared) -> Terminal:
    if isinstance(request, Generate):
        return cancelled_event(request.request_id)
    return Failed(request_id=request.request_id, code=CANCELLED, message=CANCELLED)
