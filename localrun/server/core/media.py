"""Media of a request: fetched from their addresses, and whether its model takes them.

All of it happens before anything is loaded for the request.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from localrun.errors import NetworkError, UsageError
from localrun.media.kinds import kind_of
from localrun.registry.addressed import LONGEST_S
from localrun.remote.model import EngineKind
from localrun.server.middleware.bodies import MAX_BODY_BYTES, MAX_OPEN_BYTES, OpenBodies
from localrun.server.parsing.limits import MAX_COPIED

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from localrun.registry.addressed import AddressedFiles
    from localrun.runner.messages import PromptSpec
    from localrun.services.stored_model import StoredModel

LONGEST_TOGETHER_S = 60.0  # to fetch the media of a request
MAX_SHOWN = 200  # characters of an address
HEARS = "hf.co/ggml-org/ultravox-v0_5-llama-3_2-1b-GGUF"  # small, and its projector is beside it
READS_DOCUMENTS = {EngineKind.LOCALRUN, EngineKind.OPENAI}
NEEDS = {"image": ("an image", "vision"), "sound": ("a sound", "audio")}


class AddressedMedia:
    """Media that prompts name by their addresses; used on the event loop only.

    Invariant: all that is fetched for open requests has at most ``most_bytes``.
    """

    def __init__(
        self,
        files: AddressedFiles,
        find_model: Callable[[str], StoredModel],
        most_bytes: int = MAX_OPEN_BYTES,
    ) -> None:
        """``find_model`` may block."""
        self._files = files
        self._find_model = find_model
        self._open = OpenBodies(most_bytes, "fetched media")

    @contextlib.asynccontextmanager
    async def fetched(
        self, prompt: PromptSpec, model: str, num_answers: int = 1
    ) -> AsyncGenerator[None, None]:
        """Fetch the media of a prompt if the model takes them, and count them during the block.

        They become part of the prompt, which ``num_answers`` requests send to the runner. No thread
        waits, and a caller that is cancelled leaves the fetch.

        Raises:
            UsageError: the model does not take a medium, or its address is not allowed or not
                answered, or all together are too large or take too long.
            OverloadedError: too many files are being fetched, or open requests have too many.
            LocalrunError: there is no such model.
        """
        counted = _Counted(self._open, num_answers)
        try:
            if any("url" in medium for medium in prompt.all_media):
                check_media(prompt, await asyncio.to_thread(self._find_model, model))
                await self._fetch(prompt.all_media, counted)
            yield
        finally:
            counted.close()

    async def _fetch(self, media: Sequence[dict[str, Any]], counted: _Counted) -> None:
        addressed = [medium for medium in media if "url" in medium]
        counted.num_sent = sum(len(medium.get("data", b"")) for medium in media)
        place = ""
        try:
            async with asyncio.timeout(LONGEST_TOGETHER_S):
                for medium in addressed:
                    place = medium["place"]
                    if url := medium.get("url"):  # no other answer to the prompt has fetched it
                        medium["data"] = await _fetched(url, place, self._files)
                        medium.pop("url", None)
                    counted.add(len(medium["data"]), place)
        except TimeoutError as error:
            problem = f"{place} and the media before it take more than {LONGEST_TOGETHER_S:.0f} s"
            raise UsageError(problem, param=place) from error


class _Counted:
    """The bytes that are fetched for one of ``num_answers`` answers."""

    def __init__(self, open_bytes: OpenBodies, num_answers: int) -> None:
        self.num_sent = 0  # bytes of the media that the request contains
        self._open_bytes = open_bytes
        self._num_answers = num_answers
        self._num_bytes = 0

    def add(self, num_bytes: int, place: str) -> None:
        """Count a file.

        Raises:
            UsageError: the media of the answer are too large, as those of a body would be.
            OverloadedError: those of all open requests are.
        """
        num_together = self.num_sent + self._num_bytes + num_bytes
        most = MAX_BODY_BYTES if self._num_answers == 1 else MAX_COPIED // self._num_answers
        if num_together > most:
            one = "a request" if self._num_answers == 1 else f"each of {self._num_answers} answers"
            raise UsageError(
                f"{place} and the other media have more than the {most // 1024} KiB of {one}",
                hint="send smaller ones",
                param=place,
            )
        self._open_bytes.add(num_bytes)
        self._num_bytes += num_bytes

    def close(self) -> None:
        """Count nothing more."""
        self._open_bytes.remove(self._num_bytes)


def check_media(prompt: PromptSpec, model: StoredModel) -> None:
    """Check that a model takes all media of a prompt.

    Raises:
        UsageError: the model has no encoder for one of them.
    """
    for medium in prompt.all_media:
        _check_taken(medium, model)


async def _fetched(url: str, place: str, files: AddressedFiles) -> bytes:
    """Return the content of an address.

    Raises:
        UsageError: the host is not listed, not public, or does not answer.
        OverloadedError: too many files are being fetched.
    """
    if not files.allows(url):
        raise UsageError(
            f"{place} is an address, {url[:MAX_SHOWN]}, whose host is not in"
            " LOCALRUN_FETCH_IMAGES of the server",
            hint="send the content as a data: URL in base64, or start the server with"
            " LOCALRUN_FETCH_IMAGES=HOST",
            param=place,
        )
    try:
        with files.fetching(url) as fetch:
            async with asyncio.timeout(fetch.remaining_s):
                return await asyncio.wrap_future(fetch.content)
    except NetworkError as error:
        raise UsageError(f"{place} cannot be fetched: {error.message}", param=place) from error
    except TimeoutError as error:
        problem = f"{place} cannot be fetched: the file takes more than {LONGEST_S:.0f} s"
        raise UsageError(problem, param=place) from error


def check_hears(model: StoredModel) -> None:
    """Check that a model takes sounds.

    Raises:
        UsageError: it does not; the hint names one that does.
    """
    if "audio" not in model.details.capabilities:
        raise UsageError(
            f"{model.name} does not hear: only a model with audio support can transcribe",
            hint=f"localrun pull {HEARS}   gets one; localrun show MODEL   shows capabilities",
            param="model",
        )


def _check_taken(medium: dict[str, Any], model: StoredModel) -> None:
    """Check a medium against the capabilities of a model, by its bytes or else by what it may be.

    Raises:
        UsageError: the model has no encoder for it; the error names its place and the model.
    """
    data = medium.get("data")
    found = kind_of(data) if isinstance(data, bytes) else None
    kind = found.kind if found is not None else medium["expected"]
    if kind not in NEEDS:
        _check_document(medium, model)
        return
    content, capability = NEEDS[kind]
    if capability not in model.details.capabilities:
        reads_media = any(one in model.details.capabilities for _, one in NEEDS.values())
        reads_text = "" if reads_media else ": it reads text only"
        raise UsageError(
            f"{medium['place']} contains {content}, and {model.name} has no {capability} support"
            f" here{reads_text}",
            param=medium["place"],
            hint=f"localrun show {model.name}   shows its capabilities"
            if model.remote is None
            else f"add the model again with --capability completion --capability {capability}, if"
            " its engine takes that",
        )


def _check_document(document: dict[str, Any], model: StoredModel) -> None:
    """Check that the engine of a remote model reads documents.

    Raises:
        UsageError: it does not, as most engines.
    """
    if model.remote is not None and model.remote.engine not in READS_DOCUMENTS:
        raise UsageError(
            f"{document['place']} is a document, and the engine of the remote model {model.name}"
            " reads none",
            hint="send its text",
            param=document["place"],
        )
