"""Images, sounds and documents from the terminal and through every API, with the real program."""

from __future__ import annotations

import base64
import io
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from PIL import Image

from localrun.media import images
from localrun.store.store import embedded_models
from tests.e2e.conftest import make_home
from tests.engine.media.pairs import write_pair
from tests.engine.media.seeing import picture, tone
from tests.media.test_documents import pdf
from tests.media.test_sounds import FILES, encoded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.conftest import Home

NUM_NEW = 8
QUESTION = "What is it?"
# Pictures whose answers no rounding decides: the weights are random, so that the best
# two logits of other answers may be equal, and a batch of another size rounds by up to 0.05.
CLEAR, OTHER_CLEAR = 33, 30
CLEARLY = 0.2


def png(seed: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture(seed)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("media")
    for seed in (1, CLEAR, OTHER_CLEAR):
        (found / f"{seed}.png").write_bytes(png(seed))
    (found / "note.wav").write_bytes(encoded(tone(1, 0.5)[:, None], "wav"))
    (found / "report.pdf").write_bytes(pdf("The answer is forty-two"))
    return found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[Home]:
    found = make_home(tmp_path_factory.mktemp("home"))
    found.environ["LOCALRUN_MODELS"] = str(folder / "models")
    for family in ("omni", "janus"):
        text, projector = write_pair(folder, family, embedded_models()["guide:latest"])
        recipe = f"FROM {text}\nFROM {projector}\nPARAMETER temperature 0\n"
        done = found.run("create", family, "-f", "-", stdin=recipe)
        assert done.returncode == 0, done.stderr
    assert found.run("load", "omni").returncode == 0  # starts the server
    yield found
    found.run("stop", "--server")


def run(home: Home, *words: str) -> str:
    done = home.run("run", "omni", QUESTION, *words, "--num-predict", str(NUM_NEW))
    assert done.returncode == 0, done.stderr
    return done.stdout


def post(home: Home, path: str, body: dict[str, Any]) -> Any:
    reply = httpx.post(f"{home.url}{path}", json={"model": "omni", "temperature": 0, **body})
    assert reply.status_code == 200, reply.text
    return reply.json()


def chat(home: Home, *parts: dict[str, Any], **more: object) -> dict[str, Any]:
    messages = [{"role": "user", "content": list(parts)}]
    body = {"messages": messages, "max_tokens": NUM_NEW, **more}
    reply: dict[str, Any] = post(home, "/v1/chat/completions", body)
    return reply


def image(seed: int) -> dict[str, Any]:
    url = f"data:image/png;base64,{base64.b64encode(png(seed)).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


TEXT = {"type": "text", "text": QUESTION}


def margin(home: Home, *parts: dict[str, Any]) -> float:
    """Return by how much the best logit exceeds the next one, where an answer is least certain."""
    reply = chat(home, *parts, logprobs=True, top_logprobs=2)
    tops = [token["top_logprobs"] for token in reply["choices"][0]["logprobs"]["content"]]
    return min(float(best["logprob"] - second["logprob"]) for best, second in tops)


def test_the_model_tells_what_it_takes(home: Home) -> None:
    shown = home.run("show", "omni").stdout
    run(home)
    details = httpx.post(f"{home.url}/api/show", json={"model": "omni"}).json()
    props = httpx.get(f"{home.url}/props", params={"model": "omni"}).json()

    assert "vision" in shown
    assert {"vision", "audio"} <= set(details["capabilities"])
    assert props["modalities"] == {"vision": True, "video": False, "audio": True}


def test_the_terminal_and_all_apis_say_the_same(home: Home, folder: Path) -> None:
    said = run(home, "--image", str(folder / f"{CLEAR}.png")).strip()
    data = base64.b64encode(png(CLEAR)).decode()
    source = {"type": "base64", "media_type": "image/png", "data": data}
    image_first = [image(CLEAR), TEXT]
    options = {"temperature": 0, "num_predict": NUM_NEW}
    messages = [{"role": "user", "content": QUESTION, "images": [data]}]
    blocks = [{"type": "image", "source": source}, TEXT]
    parts = [
        {"type": "input_image", "image_url": f"data:image/png;base64,{data}"},
        {"type": "input_text", "text": QUESTION},
    ]

    by_openai = chat(home, *image_first)["choices"][0]["message"]["content"]
    by_ollama = post(home, "/api/chat", {"messages": messages, "stream": False, "options": options})
    by_anthropic = post(
        home,
        "/v1/messages",
        {"messages": [{"role": "user", "content": blocks}], "max_tokens": NUM_NEW},
    )
    by_responses = post(
        home,
        "/v1/responses",
        {"input": [{"role": "user", "content": parts}], "max_output_tokens": NUM_NEW},
    )

    assert margin(home, *image_first) > CLEARLY
    assert by_openai.strip() == said
    assert by_ollama["message"]["content"].strip() == said
    assert by_anthropic["content"][0]["text"].strip() == said
    assert by_responses["output"][-1]["content"][0]["text"].strip() == said
    assert run(home, "--image", str(folder / f"{OTHER_CLEAR}.png")).strip() != said


def test_tokens_of_media_are_counted_before_anything_is_computed(home: Home) -> None:
    source = {"type": "base64", "data": base64.b64encode(png(3)).decode()}
    blocks = [TEXT, {"type": "image", "source": source}]

    counted = post(
        home, "/v1/messages/count_tokens", {"messages": [{"role": "user", "content": blocks}]}
    )

    assert counted["input_tokens"] == chat(home, TEXT, image(3))["usage"]["prompt_tokens"]


def test_requests_at_once_share_an_image(home: Home) -> None:
    parts = image(OTHER_CLEAR), TEXT
    alone = chat(home, *parts)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: chat(home, *parts), range(8)))

    texts = {answer["choices"][0]["message"]["content"] for answer in (alone, *answers)}
    assert len(texts) == 1
    cached = [answer["usage"]["prompt_tokens_details"]["cached_tokens"] for answer in answers]
    assert min(cached) == alone["usage"]["prompt_tokens"] - 1
    assert margin(home, *parts) > CLEARLY


@pytest.mark.parametrize("form", images.FORMATS)
def test_images_of_every_format_are_seen(home: Home, folder: Path, form: str) -> None:
    Image.fromarray(picture(1)).save(folder / f"picture.{form}", form)

    assert run(home, "--image", str(folder / f"picture.{form}")) != run(home)


@pytest.mark.parametrize("form", FILES)
def test_sounds_of_every_format_are_heard(home: Home, folder: Path, form: str) -> None:
    (folder / f"tone.{form}").write_bytes(encoded(tone(1, 0.5)[:, None], form))

    assert run(home, "--audio", str(folder / f"tone.{form}")) != run(home)


def test_documents_are_read(home: Home, folder: Path) -> None:
    assert run(home, "--file", str(folder / "report.pdf")) != run(home)
    done = home.run("run", "guide", "Hi!", "--file", str(folder / "report.pdf"))
    assert done.returncode == 0, done.stderr


def test_a_damaged_document_is_named(home: Home, tmp_path: Path) -> None:
    (tmp_path / "cut.pdf").write_bytes(b"%PDF-1.4\n")

    done = home.run("run", "guide", "Hi!", "--file", str(tmp_path / "cut.pdf"))

    assert done.returncode == 2
    assert f"error: {tmp_path / 'cut.pdf'} is a damaged" in done.stderr


def test_a_model_that_does_not_hear_says_so(home: Home, folder: Path) -> None:
    done = home.run("run", "janus", QUESTION, "--audio", str(folder / "note.wav"))

    assert done.returncode == 2
    assert "sounds cannot be sent" in done.stderr


def test_a_damaged_image_ends_its_request_and_nothing_else(home: Home) -> None:
    broken = {"type": "image_url", "image_url": base64.b64encode(png(1)[:100]).decode()}
    body = {"model": "omni", "messages": [{"role": "user", "content": [broken]}]}

    reply = httpx.post(f"{home.url}/v1/chat/completions", json=body)

    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == "messages[0].content[0].image_url"
    assert run(home)


def test_a_projector_of_another_model_is_refused_when_it_is_loaded(
    home: Home, folder: Path
) -> None:
    _, other = write_pair(folder, "qwen3vl", embedded_models()["guide:latest"])
    recipe = f"FROM {folder / 'janus.gguf'}\nFROM {other}\n"
    assert home.run("create", "misfit", "-f", "-", stdin=recipe).returncode == 0

    done = home.run("run", "misfit", QUESTION)

    assert done.returncode != 0
    assert "projector" in done.stderr
    assert "does not fit" in done.stderr
    assert "tiny janus" in done.stderr


def test_a_sound_is_transcribed_as_the_model_answers_in_a_chat(home: Home, folder: Path) -> None:
    data = (folder / "note.wav").read_bytes()
    sound = {"type": "input_audio", "input_audio": {"data": base64.b64encode(data).decode()}}
    parts = {"type": "text", "text": "Transcribe audio to text"}, sound
    said = chat(home, *parts)
    form = {"model": "omni", "max_tokens": str(NUM_NEW)}

    reply = httpx.post(f"{home.url}/v1/audio/transcriptions", data=form, files={"file": data})

    assert reply.status_code == 200, reply.text
    assert margin(home, *parts) > CLEARLY
    assert reply.json()["text"] == said["choices"][0]["message"]["content"].strip()
    assert reply.json()["usage"]["input_tokens"] == said["usage"]["prompt_tokens"]
