"""`rm`, `cp`, `du`, `prune`, `verify`, `export`, `import` and `push`."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from localrun.names.parse import parse_name
from localrun.store.prompts import PromptFolder
from tests.fakes.registry import FakeRegistry
from tests.fakes.web import serving
from tests.program import IN_SHELL, PROGRAM
from tests.services.making import FILES, NAME, REPO, WEIGHTS, digest, gguf
from tests.store.building import blob_names, damage
from tests.store.foreign.layouts import write
from tests.unix_calls import make_pipe, open_terminal
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from localrun.store.store import Store
    from tests.cli.conftest import Localrun
    from tests.fakes.hub import FakeHub

Q8 = f"hf.co/{REPO}:Q8_0"


@pytest.fixture
def model(localrun: Localrun) -> str:
    """Pull a model and return its name."""
    assert localrun("pull", NAME).returncode == 0
    return NAME


def names(store: Store) -> list[str]:
    return [entry.ref.name for entry in store.entries()]


@pytest.mark.usefixtures("model")
def test_rm_of_several_removes_those_that_are_there(localrun: Localrun, store: Store) -> None:
    localrun("cp", NAME, "mine")

    done = localrun("rm", "mine", "nosuch", NAME)

    assert done.returncode == 3
    assert done.stdout.splitlines()[0] == "removed mine:latest, 0 B freed"
    assert done.stdout.splitlines()[1].startswith(f"removed {NAME}, 2")
    assert done.stderr.startswith("error: model 'nosuch:latest' is not on this machine\nhint: ")
    assert names(store) == []
    assert blob_names(store.layout) == set()


@pytest.mark.usefixtures("model")
def test_a_model_that_is_named_twice_is_removed_once(localrun: Localrun, store: Store) -> None:
    localrun("cp", NAME, "mine")

    done = localrun("rm", "mine", "mine:latest", "Mine")

    assert done.returncode == 0
    assert done.stdout == "removed mine:latest, 0 B freed\n"
    assert names(store) == [NAME]


@pytest.mark.usefixtures("model")
def test_nothing_is_removed_when_one_is_no_name_at_all(localrun: Localrun, store: Store) -> None:
    assert localrun("rm", NAME, "not a name").returncode == 2

    assert names(store) == [NAME]


def test_the_json_of_rm_has_the_reviewed_keys(localrun: Localrun, model: str) -> None:
    removed = json.loads(localrun("rm", model, "--json").stdout)

    assert sorted(removed) == ["freed_bytes", "name", "problem"]
    assert removed["name"] == model
    assert removed["freed_bytes"] > len(WEIGHTS)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["rm", "guide"], 2),
        (["rm", "guied"], 3),
        (["cp", "nosuch", "mine"], 3),
        (["cp", "guide", "./mine"], 2),
        (["export", "nosuch", "-o", "x.tar"], 3),
        (["export", "guide", "-o", "x.tar"], 2),
        (["export", "nosuch"], 2),
        (["import"], 2),
        (["import", "--list"], 2),
        (["import", "absent.gguf"], 3),
        (["import", "absent.tar"], 3),
        (["import", "--from", "nosuch"], 2),
        (["import", "--from", "ollama", "nosuch"], 3),
        (["verify", "nosuch"], 3),
        (["push", "guide"], 2),
        (["push", "nosuch", "localhost:9/me/mine"], 3),
    ],
)
def test_what_cannot_be_done_is_one_line_with_its_code(
    localrun: Localrun, store: Store, command: list[str], code: int
) -> None:
    done = localrun(*command)

    assert done.returncode == code
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "rror" in done.stderr
    assert names(store) == []


def test_a_near_name_is_suggested(localrun: Localrun) -> None:
    assert "hint: localrun run guide" in localrun("rm", "guied").stderr


def test_du_adds_up(localrun: Localrun, store: Store, model: str) -> None:
    localrun("pull", Q8)
    localrun("cp", model, "mine")

    used = json.loads(localrun("du", "--json").stdout)
    table = localrun("du").stdout

    on_disk = sum(path.stat().st_size for path in store.layout.blobs.iterdir())
    sizes = {one["name"]: one for one in used["models"]}
    assert used["total_bytes"] == on_disk
    assert all(
        one["own_bytes"] + one["shared_bytes"] == one["total_bytes"] for one in sizes.values()
    )
    assert sizes[Q8]["own_bytes"] >= len(FILES["model-Q8_0.gguf"])
    assert sizes["mine:latest"]["own_bytes"] == 0
    assert (used["unused_bytes"], used["partial_bytes"], used["linked_bytes"]) == (0, 0, 0)
    assert used["path"] == str(store.layout.root)
    assert table.splitlines()[0].split() == ["NAME", "SIZE", "OWN", "SHARED"]
    assert f" in {store.layout.root}" in table


def test_prune_tells_first_and_frees_what_du_called_unused(
    localrun: Localrun, hub: FakeHub, store: Store, model: str
) -> None:
    hub.replace(REPO, "model-Q4_K_M.gguf", gguf(1))
    localrun("pull", model)
    unused = json.loads(localrun("du", "--json").stdout)["unused_bytes"]

    dry = json.loads(localrun("prune", "--dry-run", "--json").stdout)
    assert digest(WEIGHTS) in blob_names(store.layout)
    pruned = json.loads(localrun("prune", "--json").stdout)

    assert dry["freed_bytes"] == pruned["freed_bytes"] == unused > len(WEIGHTS)
    assert (dry["is_dry_run"], pruned["is_dry_run"]) == (True, False)
    assert digest(WEIGHTS) in pruned["blobs"]
    assert localrun("prune").stdout == "0 files and 0 unfinished downloads, 0 B freed\n"


def test_prune_deletes_saved_prompts_that_du_shows(localrun: Localrun) -> None:
    root = Path(os.environ["LOCALRUN_CACHE"]) / "prompts"
    PromptFolder(root, "0" * 32, 10**6).write([1, 2, 3], 0, b"x" * 5000)

    size = json.loads(localrun("du", "--json").stdout)["prompt_bytes"]
    dry = json.loads(localrun("prune", "--dry-run", "--json").stdout)["prompt_bytes"]

    assert size == dry > 5000
    assert f"of saved prompts in {root}" in localrun("du").stdout
    assert "saved prompts, " in localrun("prune").stdout
    assert json.loads(localrun("du", "--json").stdout)["prompt_bytes"] == 0


def test_prune_deletes_what_processes_that_ended_were_writing(localrun: Localrun) -> None:
    cache, ended = Path(os.environ["LOCALRUN_CACHE"]), subprocess.Popen(["true"])
    ended.wait()
    PromptFolder(cache / "prompts", "0" * 32, 10**6)
    left = [cache / f"needs.json.tmp-{ended.pid}", cache / "prompts" / f"key.tmp-{ended.pid}"]
    living = [path.with_name(path.name.replace(str(ended.pid), str(os.getpid()))) for path in left]
    for path in (*left, *living):
        path.write_bytes(b"half")

    assert localrun("prune").returncode == 0

    assert [path.exists() for path in (*left, *living)] == [False, False, True, True]


def test_verify_finds_what_is_bad_and_repairs_it(
    localrun: Localrun, store: Store, model: str
) -> None:
    good = localrun("verify")
    damage(store.layout.blob(digest(WEIGHTS)))

    bad, as_json = localrun("verify", model), localrun("verify", "--json")
    repaired, after = localrun("verify", "--repair"), localrun("verify")

    verdict = json.loads(as_json.stdout.splitlines()[-1])
    assert (good.returncode, good.stdout) == (0, f"{model}: good\n")
    assert (bad.returncode, bad.stdout) == (4, f"{model}: BAD\n")
    assert f"damaged: {digest(WEIGHTS)}" in bad.stderr
    assert "hint: localrun verify --repair" in bad.stderr
    assert as_json.returncode == 4
    assert sorted(verdict) == ["bad", "event", "is_good", "is_repaired", "name", "problem"]
    assert (repaired.returncode, repaired.stdout) == (0, f"{model}: repaired\n")
    assert (after.returncode, after.stdout) == (0, f"{model}: good\n")


def test_a_name_that_cannot_be_read_is_bad(localrun: Localrun, store: Store, model: str) -> None:
    path = store.layout.ref(parse_name(model).key)
    path.write_text("{")

    done = localrun("verify")

    assert done.returncode == 4
    assert done.stdout == f"{path}: BAD\n"


def test_what_names_and_archives_say_as_json(localrun: Localrun, model: str) -> None:
    copied = json.loads(localrun("cp", model, "mine", "--json").stdout)
    moved = json.loads(localrun("mv", "mine", "yours", "--json").stdout)
    written = localrun("export", model, "-o", "model.tar", "--json")

    assert copied == {"name": "mine:latest", "source": model}
    assert moved == {"name": "yours:latest", "source": "mine"}
    told = json.loads(written.stdout)
    assert (told["name"], told["file"]) == (model, "model.tar")
    assert told["written_bytes"] > len(WEIGHTS)
    assert written.stderr == ""
    assert localrun("export", model, "-o", "-", "--json").returncode == 2


def test_an_archive_goes_from_one_machine_to_another(
    localrun: Localrun, env: dict[str, str], tmp_path: Path, model: str
) -> None:
    written = localrun("export", model, "-o", "model.tar")
    env["LOCALRUN_MODELS"] = str(tmp_path / "other")
    env["LOCALRUN_OFFLINE"] = "1"

    refused = localrun("import", "model.tar")
    imported = localrun("import", "model.tar", "--force")
    renamed = localrun("import", "model.tar", "mine")
    event = json.loads(localrun("import", "model.tar", "--json").stdout.splitlines()[-1])

    assert (written.returncode, written.stdout) == (0, "")
    assert refused.returncode == 2
    assert f"registry's name, {model}" in refused.stderr
    assert "--force" in refused.stderr
    assert imported.stdout == f"imported {model}\n"
    assert renamed.stdout == "imported mine:latest\n"
    assert sorted(event) == ["event", "manifest", "name"]
    assert localrun("verify").returncode == 0


def test_an_archive_that_was_cut_is_refused_and_gone_on_with(
    localrun: Localrun, env: dict[str, str], tmp_path: Path, model: str
) -> None:
    localrun("export", model, "-o", "model.tar")
    whole = (tmp_path / "model.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[:26_000])
    env["LOCALRUN_MODELS"] = str(tmp_path / "other")

    cut = localrun("import", "cut.tar", "mine")
    done = localrun("import", "model.tar", "mine")

    assert cut.returncode == 4
    assert "are kept" in cut.stderr
    assert done.stdout == "imported mine:latest\n"


def test_an_archive_flows_through_a_pipe(env: dict[str, str], tmp_path: Path, model: str) -> None:
    command = IN_SHELL
    other = f"LOCALRUN_MODELS={tmp_path / 'other'}"

    done = subprocess.run(
        ["bash", "-c", f"{command} export {model} -o - | {other} {command} import - {model}"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, f"imported {model}\n")


def test_a_reader_of_an_archive_that_leaves_ends_it_quietly(
    env: dict[str, str], model: str, localrun: Localrun, tmp_path: Path
) -> None:
    localrun("import", str(write(tmp_path / "big.gguf", gguf(3, 2_000_000))), "big")
    script = f"{IN_SHELL} export big -o - | head -c 1; exit ${{PIPESTATUS[0]}}"

    done = subprocess.run(["bash", "-c", script], env=env, capture_output=True, check=False)

    assert done.returncode == 141
    assert done.stderr == b""
    assert model == NAME


@pytest.mark.parametrize(("place", "code"), [(".", 2), ("absent/x.tar", 8)])
def test_an_archive_that_cannot_be_written_is_told(
    localrun: Localrun, model: str, place: str, code: int
) -> None:
    done = localrun("export", model, "-o", place)

    assert done.returncode == code
    assert done.stderr.startswith("error: ")


def test_a_pipe_is_written_and_not_replaced(
    env: dict[str, str], tmp_path: Path, model: str
) -> None:
    make_pipe(tmp_path / "pipe.tar")
    command = IN_SHELL
    script = f"{command} export {model} -o pipe.tar & cat pipe.tar | wc -c; wait $!"

    done = subprocess.run(
        ["bash", "-c", script],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG_S,
    )

    assert done.returncode == 0
    assert int(done.stdout) > len(WEIGHTS)
    assert stat.S_ISFIFO((tmp_path / "pipe.tar").stat().st_mode)


def test_import_takes_a_file_and_lists_what_a_tool_keeps(
    localrun: Localrun, env: dict[str, str], tmp_path: Path
) -> None:
    path = write(tmp_path / "home/.cache/llama.cpp/owner_repo_m-Q8_0.gguf", WEIGHTS)
    from_tool = ("import", "--from", "llama.cpp")
    env.pop("XDG_CACHE_HOME", None)

    listed, as_json = localrun(*from_tool, "--list"), localrun(*from_tool, "--list", "--json")
    taken = localrun(*from_tool)
    by_path = json.loads(localrun("import", str(path), "mine", "--json").stdout.splitlines()[-1])
    none = localrun("import", "--from", "lmstudio")

    assert listed.stdout.splitlines()[1].split() == ["owner_repo_m-Q8_0", "20.0", "KB"]
    assert json.loads(as_json.stdout) == [
        {"name": "owner_repo_m-Q8_0", "size_bytes": len(WEIGHTS), "files": [str(path)]}
    ]
    assert taken.stdout == "imported owner_repo_m-Q8_0:latest, 20.0 KB\n"
    assert sorted(by_path) == ["copied_bytes", "event", "manifest", "name", "size_bytes"]
    assert (none.returncode, none.stdout) == (0, "")
    assert none.stderr == "lmstudio has no models on this machine\n"


def test_push_says_what_it_sent(localrun: Localrun, model: str) -> None:
    with serving(FakeRegistry()) as registry:
        place = f"{registry.host}/me/mine:1"
        first, again = localrun("push", model, place), localrun("push", model, place, "--json")

    event = json.loads(again.stdout.splitlines()[-1])
    assert first.stdout.startswith(f"pushed {place}, 2")
    assert sorted(event) == ["event", "manifest", "name", "sent_bytes", "size_bytes"]
    assert event["sent_bytes"] == 0


def test_an_import_replaces_a_model_only_by_force(localrun: Localrun, tmp_path: Path) -> None:
    localrun("import", str(write(tmp_path / "first.gguf", gguf(5, 30_000))), "mine")
    localrun("export", "mine", "-o", "mine.tar")
    other = write(tmp_path / "other.gguf", gguf(7, 40_000))

    kept = localrun("import", str(other), "mine")
    localrun("import", str(other), "mine", "--force")
    refused = localrun("import", "mine.tar")
    aside = localrun("import", "mine.tar", "aside")
    forced = localrun("import", "mine.tar", "--force")
    again = localrun("import", "mine.tar")

    for each in (kept, refused):
        assert (each.returncode, each.stdout) == (2, "")
        assert "mine:latest exists and is another model" in each.stderr
        assert "--force" in each.stderr
    assert (aside.stdout, forced.stdout, again.stdout) == (
        "imported aside:latest\n",
        "imported mine:latest\n",
        "imported mine:latest\n",
    )


@pytest.mark.parametrize(("answer", "exit_code"), [("y", 0), ("n", 2)])
def test_an_import_asks_on_a_terminal_before_it_replaces_a_model(
    answer: str, exit_code: int, localrun: Localrun, env: dict[str, str], tmp_path: Path
) -> None:
    localrun("import", str(write(tmp_path / "first.gguf", gguf(5, 30_000))), "mine")
    localrun("export", "mine", "-o", "mine.tar")
    other = write(tmp_path / "other.gguf", gguf(7, 40_000))
    localrun("import", str(other), "mine", "--force")
    keyboard, terminal = open_terminal()
    os.write(keyboard, f"{answer}\n".encode())

    done = subprocess.run(
        [*PROGRAM, "import", "mine.tar"],
        stdin=terminal,
        capture_output=True,
        text=True,
        env=env,
        cwd=tmp_path,
        check=False,
    )
    for descriptor in (keyboard, terminal):
        os.close(descriptor)

    assert done.returncode == exit_code
    assert "mine:latest exists and is another model: continue? [y/N]" in done.stderr
    assert done.stdout == ("imported mine:latest\n" if exit_code == 0 else "")
