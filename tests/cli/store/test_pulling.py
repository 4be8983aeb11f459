"""`pull`, `outdated`, `lock` and `search`, by what they print and how they leave."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from localrun.services.drafting.known import MIN_BYTES
from localrun.store.store import embedded_models
from tests.fakes.hub import FakeHub, Fault
from tests.services.making import DEAD, FILES, NAME, REPO, WEIGHTS, digest, gguf

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.store.store import Store
    from tests.cli.conftest import Localrun

HOUSE = """
format_version = 1
[house]
about = "House: our own"
licence = "MIT"
default = "4b"
draft = "house:1b"
[[house.sizes]]
tag = "4b"
huggingface = "owner/large-GGUF"
quantization = "Q8_0"
size = "7 MB"
[[house.sizes]]
tag = "1b"
huggingface = "owner/small-GGUF"
quantization = "Q8_0"
size = "2 MB"
"""
QWEN = {"Qwen3-0.6B-Q8_0.gguf": gguf(1)}


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_pull_says_what_it_did_in_plain_lines(localrun: Localrun) -> None:
    first, again = localrun("pull", NAME), localrun("pull", NAME)

    assert (first.returncode, again.returncode) == (0, 0)
    assert first.stdout == f"{NAME} is complete, 25.0 KB downloaded\n"
    assert again.stdout == f"{NAME} is up to date\n"
    assert "4 files, 25.0 KB" in first.stderr
    assert "model-Q4_K_M.gguf: 20.0 KB, complete" in first.stderr
    assert "\033" not in first.stdout + first.stderr


def test_the_choice_is_stated(localrun: Localrun) -> None:
    done = localrun("pull", f"https://huggingface.co/{REPO}")

    assert "Q4_K_M was chosen" in done.stderr
    assert done.stdout.startswith(f"hf.co/{REPO}:latest is complete")


def test_the_events_of_a_pull_have_the_reviewed_keys(localrun: Localrun) -> None:
    done = localrun("pull", f"hf:{REPO}", "--json")

    told = events(done.stdout)
    keys = {event["event"]: sorted(event) for event in told}
    assert keys == {
        "note": ["event", "text"],
        "begin": ["event", "num_files", "total_bytes"],
        "progress": ["done_bytes", "event", "file", "total_bytes"],
        "done": ["event", "fetched_bytes", "is_changed", "manifest", "name", "size_bytes"],
    }
    assert told[-1]["event"] == "done"
    assert told[-1]["name"] == f"hf.co/{REPO}:latest"
    assert done.stderr == ""


def test_a_draft_model_that_the_catalog_knows_is_named_and_not_pulled(
    localrun: Localrun, hub: FakeHub, env: dict[str, str], tmp_path: Path
) -> None:
    large = embedded_models()["guide:latest"].read_bytes() + bytes(MIN_BYTES)
    hub.add("owner/large-GGUF", {"large-Q8_0.gguf": large})
    env["LOCALRUN_CATALOG"] = str(tmp_path / "catalog.toml")
    (tmp_path / "catalog.toml").write_text(HOUSE)

    plain, as_json = localrun("pull", "house:4b"), localrun("pull", "house:4b", "--json")
    env["LOCALRUN_DRAFT"] = "none"
    off = localrun("pull", "house:4b")

    assert plain.stderr.endswith(
        "house:1b would draft tokens for it, so that answers come faster (2.0 MB): "
        "localrun pull house:1b\n"
    )
    assert events(as_json.stdout)[-1] == {
        "event": "draft", "model": "house:4b", "name": "house:1b", "size_bytes": 2_000_000,
        "is_here": False,
    }  # fmt: skip
    assert "draft" not in off.stderr


def test_a_dry_run_tells_the_files_and_fetches_none(
    localrun: Localrun, hub: FakeHub, store: Store
) -> None:
    localrun("pull", NAME)
    num_fetched = len(hub.file_requests)

    done = localrun("pull", f"hf:{REPO}:Q8_0", "--dry-run")
    (plan,) = events(localrun("pull", f"hf:{REPO}", "--dry-run", "--json").stdout)

    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[:3] == [
        ["FILE", "SIZE", "STATE"],
        ["model-Q8_0.gguf", "30.0", "KB", "missing"],
        ["mmproj-F16.gguf", "5.0", "KB", "present"],
    ]
    assert sorted(plan) == ["event", "files", "model", "notes"]
    assert "Q4_K_M was chosen" in plan["notes"][0]
    assert sorted(plan["files"][0]) == ["digest", "file", "is_here", "role", "size_bytes"]
    assert [file["is_here"] for file in plan["files"]][:2] == [True, True]
    assert len(hub.file_requests) == num_fetched
    assert len(store.entries()) == 1


@pytest.mark.parametrize(
    ("name", "code", "says"),
    [
        ("not a name", 2, "not a model name"),
        ("./m.gguf", 2, "hint: localrun import ./m.gguf"),
        ("qwne3:0.6b", 3, "hint: localrun pull qwen3:0.6b"),
        (f"hf:{REPO}:Q2_K", 3, "it has: Q4_K_M (0 MB), Q8_0 (0 MB)"),
        ("hf:owner/absent", 3, "owner/absent"),
        ("hf:owner/page", 4, "not a GGUF file"),
        ("hf:owner/broken", 4, "digest mismatch"),
        (f"{DEAD}/m.gguf", 5, "127.0.0.1:9"),
    ],
)
def test_each_failure_has_its_exit_code_and_one_line(
    localrun: Localrun, hub: FakeHub, name: str, code: int, says: str
) -> None:
    hub.add("owner/page", {"model-Q4_K_M.gguf": b"<html>"})
    hub.add("owner/broken", {"model-Q4_K_M.gguf": gguf(1)})
    hub.faults.append(Fault.flip(10_000, path="owner/broken", count=99))

    done = localrun("pull", name)

    assert done.returncode == code
    assert done.stdout == ""
    assert says in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("error: ")]) == 1
    assert "Traceback" not in done.stderr


def test_a_store_that_cannot_be_written_is_a_matter_of_storage(
    localrun: Localrun, tmp_path: Path
) -> None:
    (tmp_path / "store").write_text("a file")

    done = localrun("pull", NAME)

    assert done.returncode == 8
    assert str(tmp_path / "store") in done.stderr


@pytest.mark.parametrize(
    "arguments", [[], ["--all", "x"], ["--all", "--locked", "f"], ["x", "--limit-rate", "fast"]]
)
def test_pull_wants_exactly_one_thing(localrun: Localrun, arguments: list[str]) -> None:
    done = localrun("pull", *arguments)

    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "hint: " in done.stderr


def test_one_of_several_that_fails_does_not_stop_the_others(
    localrun: Localrun, store: Store
) -> None:
    done = localrun("pull", "hf:owner/absent", NAME)

    assert done.returncode == 3
    assert [entry.ref.name for entry in store.entries()] == [NAME]


def test_a_pull_in_the_background_over_one_slow_line(localrun: Localrun, store: Store) -> None:
    done = localrun("pull", NAME, "--background", "--limit-rate", "100M")

    assert done.returncode == 0
    assert len(store.entries()) == 1


def test_offline_no_call_is_made_and_the_error_says_so(
    localrun: Localrun, hub: FakeHub, env: dict[str, str]
) -> None:
    localrun("pull", NAME)
    num_asked = len(hub.requests)
    env["LOCALRUN_OFFLINE"] = "1"

    other = f"hf.co/{REPO}:Q8_0"
    for command in (["pull", other], ["search", "qwen"], ["outdated"], ["pull", "--all"]):
        done = localrun(*command)
        assert done.returncode == 5, command
        assert "LOCALRUN_OFFLINE" in done.stderr
    for command in (["list"], ["du"], ["verify"], ["lock"], ["prune"]):
        assert localrun(*command).returncode == 0
    assert len(hub.requests) == num_asked


@pytest.mark.parametrize("option", [[], ["--limit-rate", "1G"]])
def test_offline_a_complete_model_is_told_as_it_is(
    localrun: Localrun, hub: FakeHub, env: dict[str, str], store: Store, option: list[str]
) -> None:
    localrun("pull", NAME)
    num_asked = len(hub.requests)
    env["LOCALRUN_OFFLINE"] = "1"

    done = localrun("pull", NAME, *option)
    store.layout.blob(digest(WEIGHTS)).unlink()
    broken = localrun("pull", NAME, *option)

    assert (done.returncode, done.stdout) == (0, f"{NAME} is complete\n")
    assert done.stderr == f"LOCALRUN_OFFLINE is set: {NAME} was not checked for updates\n"
    assert broken.returncode == 5
    assert len(hub.requests) == num_asked


def test_an_address_without_a_version_is_no_failure(localrun: Localrun, hub: FakeHub) -> None:
    url = hub.url + hub.add_versionless_file("m.gguf", WEIGHTS)
    localrun("pull", url)

    for command in (["outdated"], ["pull", "--all"]):
        done = localrun(*command)

        assert done.returncode == 0
        assert f"reports no version; localrun pull {url}" in done.stderr
        assert "all other models are up to date" in done.stderr


def test_outdated_names_what_moved_and_pull_all_fetches_it(
    localrun: Localrun, hub: FakeHub
) -> None:
    localrun("pull", NAME, f"hf:{REPO}:Q8_0")
    assert localrun("outdated").stderr == "all models are up to date\n"
    assert localrun("pull", "--all").stderr == "all models are up to date\n"
    hub.replace(REPO, "model-Q4_K_M.gguf", gguf(1))

    told, as_json = localrun("outdated"), localrun("outdated", "--json")
    dry = localrun("pull", "--all", "--dry-run")
    pulled = localrun("pull", "--all")

    assert [line.split() for line in told.stdout.splitlines()] == [["NAME", "ORIGIN"], [NAME, NAME]]
    assert [(one["name"], one["is_outdated"]) for one in json.loads(as_json.stdout)] == [
        (NAME, True),
        (f"hf.co/{REPO}:Q8_0", False),
    ]
    keys = ["is_outdated", "is_untold", "name", "origin", "problem"]
    assert sorted(json.loads(as_json.stdout)[0]) == keys
    assert "missing" in dry.stdout
    assert pulled.stdout == f"{NAME} is complete, 20.0 KB downloaded\n"
    assert localrun("outdated").stdout == ""


def test_what_cannot_be_asked_is_not_called_up_to_date(
    localrun: Localrun, env: dict[str, str]
) -> None:
    localrun("pull", NAME)
    env["HF_ENDPOINT"] = DEAD

    for command in (["outdated"], ["pull", "--all"]):
        done = localrun(*command)
        assert done.returncode == 5
        assert NAME in done.stderr
        assert "up to date" not in done.stdout + done.stderr


def test_a_lock_brings_the_same_bytes_to_another_machine(
    localrun: Localrun, hub: FakeHub, env: dict[str, str], tmp_path: Path
) -> None:
    localrun("pull", NAME)
    lock = localrun("lock").stdout
    (tmp_path / "models.lock").write_text(lock)
    hub.replace(REPO, "model-Q4_K_M.gguf", gguf(1))
    env["LOCALRUN_MODELS"] = str(tmp_path / "other")

    dry = localrun("pull", "--locked", "models.lock", "--dry-run")
    assert not (tmp_path / "other" / "refs").exists()
    done = localrun("pull", "--locked", "models.lock")

    assert "missing" in dry.stdout
    assert done.stdout == f"{NAME} is complete, 25.0 KB downloaded\n"
    assert json.loads(lock)["models"][NAME]["files"][0]["digest"] == digest(WEIGHTS)
    assert localrun("lock").stdout == lock
    assert localrun("lock", "guide").returncode == 2
    assert localrun("pull", "--locked", "absent.lock").returncode == 3


def test_search_shows_size_downloads_and_what_fits(localrun: Localrun, hub: FakeHub) -> None:
    hub.add("owner/popular-GGUF", FILES, downloads=12345)

    done = localrun("search", "gguf", "--limit", "2")
    as_json = json.loads(localrun("search", "gguf", "--json").stdout)

    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[0] == ["NAME", "DEFAULT", "SIZE", "FITS", "DOWNLOADS"]
    assert sorted(row[0] for row in rows[1:]) == [
        "hf.co/owner/popular-GGUF",
        "modelscope.cn/owner/popular-GGUF",
    ]
    assert rows[1][1:] == ["Q4_K_M", "20.0", "KB", "yes", "12,345"]
    assert len(as_json) == 4
    assert sorted(as_json[0]) == [
        "downloads",
        "fits",
        "likes",
        "name",
        "quantization",
        "size_bytes",
    ]
    assert localrun("search", "nosuch").stderr == "nothing found for nosuch\n"


def test_search_warns_of_a_hub_that_is_down(localrun: Localrun, env: dict[str, str]) -> None:
    env["HF_ENDPOINT"] = DEAD

    done = localrun("search", "some")

    assert done.returncode == 0
    assert done.stderr.startswith("warning: ")
    assert f"modelscope.cn/{REPO}" in done.stdout


def test_run_does_not_try_to_pull_what_no_source_is_known_for(
    localrun: Localrun, hub: FakeHub, store: Store
) -> None:
    hub.add("Qwen/Qwen3-0.6B-GGUF", QWEN)

    done = localrun("run", "someone/qwen3:0.6b", "hi")

    assert done.returncode == 3
    assert "pulling" not in done.stderr
    assert hub.requests == []
    assert store.entries() == []
