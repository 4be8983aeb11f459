"""What a model says about an image or a sound is what llama-server says with the same files."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from localrun.chat.media_marks import joined
from localrun.runner.messages import PromptSpec
from localrun.store.store import embedded_projectors
from tests.engine.media.pairs import FAMILIES, write_pair
from tests.engine.media.seeing import picture, tone
from tests.media.test_sounds import encoded
from tests.peer.conftest import free_port
from tests.peer.pair import Ours, Theirs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NEW = 12
TOP = 3
TOLERANCE = 0.05  # of logarithms of probabilities, where logits go up to 14
QUESTION = "What is in the picture?"
SOUNDS = ("ultravox",)
PLAIN = {"enable_thinking": False}


class SeeingPair:
    """Both programs with one pair of model and projector."""

    def __init__(self, family: str, model: Path, projector: Path) -> None:
        self.family = family
        self.ours = Ours(model, projector)
        self.theirs = Theirs(model, free_port(), ("--mmproj", str(projector)))

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()


@pytest.fixture(scope="module", params=("guide", *FAMILIES))
def pair(
    _peer: None,
    guide_path: Path,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[SeeingPair]:
    family = str(request.param)
    if family == "guide":
        files = guide_path, embedded_projectors()["guide:latest"]
    else:
        files = write_pair(tmp_path_factory.mktemp("pairs"), family, guide_path)
    found = SeeingPair(family, *files)
    yield found
    found.close()


def medium_of(family: str, seed: int) -> bytes:
    if family in SOUNDS:
        return encoded(tone(seed, 1.0)[:, None], "wav")
    out = io.BytesIO()
    Image.fromarray(picture(seed)).save(out, "PNG")
    return out.getvalue()


def their_part(family: str, data: bytes) -> dict[str, Any]:
    text = base64.b64encode(data).decode()
    if family in SOUNDS:
        return {"type": "input_audio", "input_audio": {"data": text, "format": "wav"}}
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{text}"}}


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("order", ["before", "behind", "twice"])
def test_an_answer_about_a_medium_is_that_of_llama_server(
    pair: SeeingPair, seed: int, order: str
) -> None:
    data = medium_of(pair.family, seed)
    if order == "twice" and pair.family in SOUNDS:
        pytest.skip("two sounds are longer than the context")
    orders: dict[str, list[str | bytes]] = {
        "before": [data, QUESTION],
        "behind": [QUESTION, data],
        "twice": [data, "and", medium_of(pair.family, seed + 5), QUESTION],
    }
    parts = orders[order]
    ours = [part if isinstance(part, str) else {"data": part} for part in parts]
    theirs = [
        {"type": "text", "text": part} if isinstance(part, str) else their_part(pair.family, part)
        for part in parts
    ]
    spec = PromptSpec(messages=({"role": "user", **joined(ours, "\n")},), template_options=PLAIN)

    mine = pair.ours.generate(spec, num_predict=NEW, logprobs=TOP)
    found = pair.theirs.post(
        "/v1/chat/completions",
        {
            "messages": [{"role": "user", "content": theirs}],
            "temperature": 0,
            "max_tokens": NEW,
            "logprobs": True,
            "top_logprobs": TOP,
            "cache_prompt": False,
            "chat_template_kwargs": PLAIN,
        },
    )

    scores = found["choices"][0]["logprobs"]["content"]
    assert mine.num_prompt == found["usage"]["prompt_tokens"]
    tops = [logprob for _, logprob in mine.scores[0][2]]
    assert tops == pytest.approx(
        [top["logprob"] for top in scores[0]["top_logprobs"]], abs=TOLERANCE
    )
    for (token, logprob, _), one in zip(mine.scores, scores, strict=False):
        shown = bytes(one["bytes"])
        if shown != token and (shown == b"" or not token.isascii()):
            break  # control tokens have no text there, and parts of a character are joined
        assert logprob == pytest.approx(one["logprob"], abs=TOLERANCE)
        if shown != token or token == b"<think>":
            break  # equally likely, or a thought, which has rules of its own
