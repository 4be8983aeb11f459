"""A file that takes too long to decode ends in an error that names it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.errors import UsageError
from localrun.media import deadline, documents
from localrun.media.documents import read_pdf
from localrun.media.images import decode_image
from localrun.media.sounds import decode_sound
from tests.media.test_documents import pdf
from tests.media.test_images import encoded as image
from tests.media.test_images import noise
from tests.media.test_sounds import encoded, tone

if TYPE_CHECKING:
    from collections.abc import Callable

SLOW = "x takes more than"


@pytest.fixture
def spend(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let the time be over when it has been looked at so often."""

    def allow(looks: int) -> None:
        left = iter([1.0] * looks)
        spent = property(lambda _: next(left, 0.0))
        monkeypatch.setattr(deadline.Deadline, "remaining_s", spent)

    return allow


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP"])
def test_an_image_is_given_up_while_it_is_read(spend: Callable[[int], None], form: str) -> None:
    data = image(noise(600, 400), form)
    spend(10_000)
    decode_image(data, "x")
    for looks in (0, 2):
        spend(looks)
        with pytest.raises(UsageError, match=SLOW):
            decode_image(data, "x")


def test_a_sound_is_given_up_between_blocks(spend: Callable[[int], None]) -> None:
    data = encoded(tone(10.0), "wav")
    spend(2)

    with pytest.raises(UsageError, match=SLOW):
        decode_sound(data, "x", rate=16000)


@pytest.mark.parametrize("looks", [1, 2])
def test_a_document_is_given_up_between_pages_and_within_one(
    spend: Callable[[int], None], looks: int
) -> None:
    data = pdf("")
    spend(looks)

    with pytest.raises(UsageError, match=SLOW):
        read_pdf(data, "x", renders=True)
    assert documents._one_at_a_time.acquire(blocking=False)
    documents._one_at_a_time.release()


def test_a_document_does_not_wait_longer_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deadline, "LONGEST_S", 0.0)

    with documents._one_at_a_time, pytest.raises(UsageError, match=SLOW):
        read_pdf(pdf("text"), "x", renders=False)
