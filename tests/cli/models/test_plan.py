from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Localrun
    from tests.cli.fake_server import FakeServer

DEVICE = {
    "device": "CUDA0", "description": "a card", "reason": "it is there", "layers": 33,
    "weight_bytes": 8_000_000_000,
    "cache_bytes": 1_000_000_000, "buffer_bytes": 100_000_000, "total_bytes": 9_100_000_000,
    "free_bytes": 12_000_000_000,
}  # fmt: skip
WHY = {
    "name": "some:latest", "context": 8192, "memory": {"CUDA0": 9_000_000_000},
    "settings": [
        {"name": "context", "value": "8192", "source": "request", "reason": ""},
        {"name": "layers on GPU", "value": "33", "source": "plan", "reason": "all layers fit"},
    ],
    "plan": {"devices": [DEVICE], "total_bytes": 9_100_000_000},
}  # fmt: skip


def test_a_plan_is_a_table_with_a_verdict(localrun_alone: Localrun) -> None:
    done = localrun_alone("plan", "guide", "--ctx", "1k")

    # the portable engine names the CPU variant in one more line
    heads, row, total, context, projector, verdict, device, *_ = done.stdout.splitlines()
    assert heads.split() == ["DEVICE", "LAYERS", "WEIGHTS", "CACHE", "BUFFERS", "TOTAL", "FREE"]
    assert row.startswith("CPU")
    assert total.startswith("total")
    assert context.startswith("context 1024 of 2048 tokens, 16 sequences")
    assert projector.startswith("projector 38.6 MB of the total")
    assert verdict.startswith("fits: ")
    assert device.startswith("  device: ")


def test_a_context_beyond_the_models_own_is_told_to_be_cut_or_stretched(
    localrun_alone: Localrun, tmp_path: Path
) -> None:
    recipe = tmp_path / "Modelfile"
    recipe.write_text("FROM guide\nPARAMETER num_ctx 8192\nPARAMETER rope_scaling yarn\n")
    localrun_alone("create", "long", "-f", str(recipe))

    cut = localrun_alone("plan", "guide", "--ctx", "9000")
    as_json = json.loads(localrun_alone("plan", "guide", "--ctx", "9000", "--json").stdout)
    stretched, shown = localrun_alone("plan", "long"), localrun_alone("show", "long")

    note = "stretched from the model's own 2048 tokens by rope_scaling yarn"
    assert "  cut from 9000 to the model's own 2048 tokens" in cut.stdout.splitlines()
    assert "rope_scaling yarn in a Modelfile extends it" in cut.stdout
    assert (as_json["context"], as_json["asked_context"]) == (2048, 9000)
    assert as_json["context_note"] == "cut from 9000 to the model's own 2048 tokens"
    assert "context 8192 of 2048 tokens" in stretched.stdout
    assert f"  {note}" in stretched.stdout.splitlines()
    assert "extends it" not in stretched.stdout
    assert note in shown.stdout


def test_a_plan_as_json_has_these_keys(localrun_alone: Localrun) -> None:
    told = json.loads(localrun_alone("plan", "guide", "--parallel", "2", "--json").stdout)

    assert set(told) == {
        "name", "is_here", "cannot_load", "context", "asked_context", "context_note", "cells",
        "parallel",
        "cache_type", "fits", "reason",
        "projector_bytes", "workers_away", "draft",
        "advice", "gpu_layers", "host_expert_layers", "devices", "total_bytes",
    }  # fmt: skip
    assert set(told["devices"][0]) == {*DEVICE, "worker"}
    assert told["parallel"] == 2


def test_why_shows_what_the_server_says(localrun: Localrun, server: FakeServer) -> None:
    server.script.why = WHY

    lines = localrun("why", "some").stdout.splitlines()

    assert lines[1].split() == ["context", "8192", "request"]
    assert "all layers fit" in lines[2]
    assert "memory: 9.0 GB on CUDA0" in lines
    assert json.loads(localrun("why", "some", "--json").stdout) == WHY
    assert server.script.paths[-1] == "/api/localrun/why?model=some"


def test_why_without_a_server_names_the_plan(localrun_alone: Localrun) -> None:
    done = localrun_alone("why", "guide")

    assert done.returncode == 3
    assert "localrun plan guide" in done.stderr
