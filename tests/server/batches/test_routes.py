"""``/v1/files`` and ``/v1/batches``, driven by OpenAI's own client."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import httpx
import openai
import pytest

from localrun.server.middleware.keys import Keys
from tests.server.json_schema import problems
from tests.server.serving import serving
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from openai.types import Batch, FileObject

    from tests.server.serving import Served

CHAT = "/v1/chat/completions"
ENDED = {"completed", "failed", "cancelled", "expired"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOCALRUN_BATCHES", str(tmp_path / "batches"))
    return tmp_path / "batches"


@pytest.fixture
def served(folder: Path) -> Iterator[Served]:
    assert not folder.exists()
    with serving() as found:
        yield found


@pytest.fixture
def client(served: Served) -> Iterator[openai.OpenAI]:
    with client_of(served) as found:
        yield found


def client_of(served: Served, key: str = "none") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{served.url}/v1", api_key=key, max_retries=0)


def line(number: int, content: str, **body: Any) -> dict[str, Any]:
    request = {"model": "fake", "messages": [{"role": "user", "content": content}], **body}
    return {"custom_id": f"line-{number}", "method": "POST", "url": CHAT, "body": request}


def uploaded(client: openai.OpenAI, *lines: Any) -> FileObject:
    content = "".join(each if isinstance(each, str) else json.dumps(each) + "\n" for each in lines)
    file = io.BytesIO(content.encode())
    return client.files.create(file=("in.jsonl", file), purpose="batch")


def begun(client: openai.OpenAI, *lines: Any, endpoint: Any = CHAT, **options: Any) -> Batch:
    file = uploaded(client, *lines)
    return client.batches.create(
        input_file_id=file.id, endpoint=endpoint, completion_window="24h", **options
    )


def ended(client: openai.OpenAI, batch: Batch) -> Batch:
    wait_until(lambda: client.batches.retrieve(batch.id).status in ENDED)
    return client.batches.retrieve(batch.id)


def results(client: openai.OpenAI, file_id: str | None) -> dict[str, Any]:
    assert file_id is not None
    lines = map(json.loads, client.files.content(file_id).text.splitlines())
    return {each["custom_id"]: each for each in lines}


def text_of(result: Any) -> Any:
    return result["response"]["body"]["choices"][0]["message"]["content"]


def test_each_line_gets_its_answer(client: openai.OpenAI, folder: Path) -> None:
    lines = [line(number, f"say answer {number}") for number in range(50)]

    batch = ended(client, begun(client, *lines, metadata={"night": "1"}))

    assert batch.status == "completed"
    assert batch.metadata == {"night": "1"}
    assert batch.request_counts is not None
    assert batch.request_counts.completed == batch.request_counts.total == 50
    assert batch.error_file_id is None
    answers = results(client, batch.output_file_id)
    assert {name: text_of(each) for name, each in answers.items()} == {
        f"line-{number}": f"answer {number}" for number in range(50)
    }
    assert all(each["response"]["status_code"] == 200 for each in answers.values())
    assert not list(folder.glob("*.output")) + list(folder.glob("*.errors"))
    assert folder.stat().st_mode & 0o777 == 0o700


def test_usage_adds_up(client: openai.OpenAI) -> None:
    batch = ended(client, begun(client, *(line(number, "say x y") for number in range(3))))

    answers = results(client, batch.output_file_id)
    usages = [each["response"]["body"]["usage"] for each in answers.values()]
    assert batch.usage is not None
    assert batch.usage.total_tokens == sum(each["total_tokens"] for each in usages) > 0


def test_requests_that_fail_are_in_the_error_file(client: openai.OpenAI) -> None:
    lines = [line(1, "say x"), line(2, "say x", model="nosuch"), line(3, "fail")]

    batch = ended(client, begun(client, *lines, line(4, "say x", temperature="hot")))

    assert batch.status == "completed"
    assert batch.request_counts is not None
    assert (batch.request_counts.completed, batch.request_counts.failed) == (1, 3)
    errors = results(client, batch.error_file_id)
    assert errors["line-2"]["response"]["status_code"] == 404
    assert "nosuch" in errors["line-2"]["response"]["body"]["error"]["message"]
    assert errors["line-3"]["response"]["status_code"] >= 400
    assert errors["line-4"]["response"]["body"]["error"]["param"] == "temperature"


def test_a_request_that_kills_the_runner_fails_alone(client: openai.OpenAI) -> None:
    batch = ended(client, begun(client, line(1, "say x"), line(2, "die"), line(3, "say y")))

    answers = results(client, batch.output_file_id)
    assert (text_of(answers["line-1"]), text_of(answers["line-3"])) == ("x", "y")
    assert list(results(client, batch.error_file_id)) == ["line-2"]


@pytest.mark.parametrize(
    ("bad", "message", "param"),
    [
        ("no json\n", "JSON", None),
        ("[]\n", "object", None),
        ({**line(1, "x"), "custom_id": None}, "custom_id", "custom_id"),
        ({**line(0, "x")}, "twice", "custom_id"),
        ({**line(1, "x"), "url": "/v1/embeddings"}, "endpoint", "url"),
        ({**line(1, "x"), "method": "GET"}, "POST", "method"),
        ({**line(1, "x"), "body": 3}, "object", "body"),
        (line(1, "x", stream=True), "streamed", "stream"),
    ],
)
def test_a_wrong_line_fails_the_batch_before_it_begins(
    client: openai.OpenAI, bad: Any, message: str, param: str | None
) -> None:
    batch = ended(client, begun(client, line(0, "say x"), bad))

    assert batch.status == "failed"
    assert batch.errors is not None
    (error,) = batch.errors.data or []
    assert error.line == 2
    assert message in (error.message or "")
    assert error.param == param
    assert batch.output_file_id is None


def test_an_empty_file_fails(client: openai.OpenAI) -> None:
    batch = ended(client, begun(client, "\n"))

    assert batch.status == "failed"


def test_a_cancelled_batch_keeps_what_it_has(client: openai.OpenAI) -> None:
    batch = begun(client, line(1, "say x"), line(2, "hang"))

    def has_one() -> bool:
        counts = client.batches.retrieve(batch.id).request_counts
        return counts is not None and counts.completed == 1

    wait_until(has_one)
    assert client.batches.cancel(batch.id).status == "cancelling"
    cancelled = ended(client, batch)

    assert cancelled.status == "cancelled"
    assert list(results(client, cancelled.output_file_id)) == ["line-1"]
    assert client.batches.cancel(batch.id).status == "cancelled"


def test_a_batch_that_waits_can_be_cancelled(client: openai.OpenAI) -> None:
    first, second = begun(client, line(1, "hang")), begun(client, line(1, "say x"))

    client.batches.cancel(second.id)
    client.batches.cancel(first.id)

    assert ended(client, second).status == ended(client, first).status == "cancelled"


def test_a_batch_goes_on_with_the_next_server(folder: Path) -> None:
    lines = [line(number, f"say {number}") for number in range(10)]
    with serving() as served, client_of(served) as client:
        batch = begun(client, *lines, line(99, "hang"))
        wait_until(lambda: counted_of(client, batch) == 10)
    output = next(folder.glob("*.output"))
    kept = output.read_bytes()
    assert kept.count(b"\n") == 10
    output.write_bytes(kept[: kept.rindex(b"\n", 0, -1) + 20])  # killed in the middle of a line

    with serving() as served, client_of(served) as client:
        begun(client, line(1, "say x"))  # behind the other one
        wait_until(lambda: counted_of(client, batch) == 10)
        client.batches.cancel(batch.id)
        cancelled = ended(client, batch)

        answers = results(client, cancelled.output_file_id)
    assert {name: text_of(each) for name, each in answers.items()} == {
        f"line-{number}": str(number) for number in range(10)
    }


def counted_of(client: openai.OpenAI, batch: Batch) -> int | None:
    counts = client.batches.retrieve(batch.id).request_counts
    return None if counts is None else counts.completed


def test_a_server_goes_on_without_being_asked(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as served, client_of(served) as client:
        batch = begun(client, line(1, "say x"), line(2, "hang"))
        wait_until(lambda: counted_of(client, batch) == 1)
    record = folder / f"{batch.id}.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "expires_at": 1}))
    monkeypatch.setattr("localrun.server.app.RESUME_AFTER_S", 0.0)

    with serving():
        wait_until(lambda: json.loads(record.read_text())["status"] == "expired")

    fields = json.loads(record.read_text())
    assert fields["counts"] == {"total": 2, "completed": 1, "failed": 1}
    errors = (folder / f"{fields['error_file_id']}.data").read_text()
    assert json.loads(errors)["error"]["code"] == "batch_expired"


def test_files_are_listed_described_and_deleted(client: openai.OpenAI) -> None:
    files = [uploaded(client, line(number, "x")) for number in range(3)]

    assert {each.id for each in client.files.list()} == {each.id for each in files}
    assert [each.id for each in client.files.list(order="asc", limit=1)][:1]
    assert client.files.retrieve(files[0].id).filename == "in.jsonl"
    assert client.files.content(files[0].id).text.startswith("{")
    assert client.files.delete(files[0].id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(files[0].id)
    assert {each.id for each in client.files.list()} == {each.id for each in files[1:]}


def test_the_input_of_an_open_batch_is_not_deleted(client: openai.OpenAI) -> None:
    batch = begun(client, line(1, "hang"))

    with pytest.raises(openai.BadRequestError, match=f"input of {batch.id}"):
        client.files.delete(batch.input_file_id)

    client.batches.cancel(batch.id)


def test_pages_follow_one_another(client: openai.OpenAI) -> None:
    batches = [begun(client, line(1, "say x")) for _ in range(5)]

    listed = [each.id for each in client.batches.list(limit=2)]

    assert sorted(listed) == sorted(each.id for each in batches)


def test_a_file_that_has_expired_is_gone(client: openai.OpenAI, folder: Path) -> None:
    file = client.files.create(
        file=("a.jsonl", b"{}"),
        purpose="batch",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )
    assert file.expires_at == file.created_at + 3600
    record = folder / f"{file.id}.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "expires_at": 1}))

    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)
    begun(client, line(1, "say x"))  # wakes the service, which cleans up

    wait_until(lambda: not list(folder.glob(f"{file.id}*")))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "file"),
        ({"file": ("a", b"x")}, "purpose"),
        ({"file": ("a", b"x"), "purpose": (None, "fine-tune")}, "purpose"),
        (
            {
                "file": ("a", b"x"),
                "purpose": (None, "batch"),
                "expires_after[seconds]": (None, "1e9"),
            },
            "expires_after[seconds]",
        ),
    ],
)
def test_a_wrong_upload_names_the_field(
    served: Served, folder: Path, fields: dict[str, Any], param: str
) -> None:
    form = fields or {"other": (None, "x")}

    answer = httpx.post(f"{served.url}/v1/files", files=form)

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
    assert not folder.exists()


def test_an_upload_is_bounded(
    served: Served, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localrun.server.batches.upload.MAX_FILE_BYTES", 1000)

    answer = httpx.post(
        f"{served.url}/v1/files",
        files={"file": ("a", b"x" * 2000), "purpose": (None, "batch")},
    )

    assert answer.status_code == 413
    assert not folder.exists()


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"endpoint": CHAT}, "input_file_id"),
        ({"input_file_id": "file-1", "endpoint": "/api/chat"}, "endpoint"),
        ({"input_file_id": "file-1", "endpoint": CHAT}, "input_file_id"),
        ({"input_file_id": "../../x", "endpoint": CHAT}, "input_file_id"),
        (
            {"input_file_id": "file-1", "endpoint": CHAT, "completion_window": "99y"},
            "completion_window",
        ),
        ({"input_file_id": "file-1", "endpoint": CHAT, "metadata": {"a": 1}}, "metadata"),
    ],
)
def test_a_wrong_batch_names_the_field(served: Served, body: dict[str, Any], param: str) -> None:
    answer = httpx.post(f"{served.url}/v1/batches", json=body)

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


@pytest.mark.parametrize(
    "path", ["/v1/files/..%2f..%2fx", "/v1/batches/file-1", "/v1/files/file-1/content"]
)
def test_a_name_that_is_no_id_is_not_found(served: Served, path: str) -> None:
    assert httpx.get(served.url + path).status_code == 404


def test_objects_are_as_described(served: Served, client: openai.OpenAI) -> None:
    document = httpx.get(f"{served.url}/openapi.json").json()
    batch = ended(client, begun(client, line(1, "say x")))

    for path, name in [("files", "OpenAIFile"), ("batches", "OpenAIBatch")]:
        for each in httpx.get(f"{served.url}/v1/{path}").json()["data"]:
            reference = {"$ref": f"#/components/schemas/{name}"}
            assert problems(document, reference, each) == []
    assert batch.model == "fake"


def test_each_api_key_sees_its_own(folder: Path) -> None:
    keys = Keys({"ann": "key-of-ann", "ben": "key-of-ben"})
    with serving(keys=keys) as served:
        with client_of(served, "key-of-ann") as ann, client_of(served, "key-of-ben") as ben:
            batch = ended(ann, begun(ann, line(1, "say x")))

            assert [each.id for each in ann.batches.list()] == [batch.id]
            assert list(ben.batches.list()) == []
            assert list(ben.files.list()) == []
            for refused in (batch.input_file_id, batch.output_file_id or ""):
                with pytest.raises(openai.NotFoundError):
                    ben.files.content(refused)
            with pytest.raises(openai.NotFoundError):
                ben.batches.cancel(batch.id)
    assert any(folder.iterdir())


def test_other_pages_are_refused(served: Served) -> None:
    answer = httpx.get(f"{served.url}/v1/files", headers={"sec-fetch-site": "cross-site"})

    assert answer.status_code == 403
