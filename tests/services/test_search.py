"""Find models on the hubs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.errors import NetworkError
from localrun.registry.http import OfflineError
from localrun.services.search import Hit, Hits, search_models
from tests.services.making import DEAD, FILES, REPO, WEIGHTS, gguf, with_environ, workspace_at

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.services.workspace import Workspace
    from tests.fakes.hub import FakeHub

MEMORY = len(WEIGHTS) * 10


def search(workspace: Workspace, text: str = "some", limit: int = 20) -> Hits:
    return search_models(workspace, text, limit, MEMORY)


def test_both_hubs_are_asked_and_sizes_told(workspace: Workspace) -> None:
    found = search(workspace)

    assert found.problems == ()
    assert {hit.name for hit in found.hits} == {f"hf.co/{REPO}", f"modelscope.cn/{REPO}"}
    assert {(hit.quantization, hit.size_bytes, hit.fits) for hit in found.hits} == {
        ("Q4_K_M", len(WEIGHTS), True)
    }


def test_most_downloaded_first_and_not_more_than_asked_for(
    workspace: Workspace, hub: FakeHub
) -> None:
    for downloads in (3, 900, 50):
        hub.add(f"owner/some-{downloads}-GGUF", FILES, downloads=downloads, likes=downloads + 1)

    hits = search(workspace, limit=3).hits

    assert [(hit.downloads, hit.likes) for hit in hits] == [(900, 901), (900, 901), (50, 51)]


def test_what_does_not_fit_this_machine_is_told(workspace: Workspace, hub: FakeHub) -> None:
    hub.add("owner/large-GGUF", {"large-Q4_K_M.gguf": gguf(1, MEMORY)})

    assert {hit.fits for hit in search(workspace, "large").hits} == {False}


def test_a_repository_that_does_not_say_keeps_what_is_listed(
    workspace: Workspace, hub: FakeHub
) -> None:
    hub.add("meta/gated-GGUF", FILES, gated=True)

    (hit,) = [hit for hit in search(workspace, "gated").hits if hit.name.startswith("hf.co")]

    expected = Hit(
        name="hf.co/meta/gated-GGUF",
        downloads=0,
        likes=0,
        quantization="Q4_K_M",
        size_bytes=None,
        fits=None,
    )
    assert hit == expected


def test_a_hub_that_is_down_is_told_and_the_other_found(workspace: Workspace) -> None:
    found = search(with_environ(workspace, HF_ENDPOINT=DEAD))

    assert [hit.name for hit in found.hits] == [f"modelscope.cn/{REPO}"]
    assert len(found.problems) == 1
    assert "127.0.0.1:9" in found.problems[0]


def test_when_no_hub_answers_it_is_an_error(workspace: Workspace) -> None:
    with pytest.raises(NetworkError):
        search(with_environ(workspace, HF_ENDPOINT=DEAD, MODELSCOPE_ENDPOINT=DEAD))


def test_offline_nothing_is_asked(tmp_path: Path, hub: FakeHub) -> None:
    with pytest.raises(OfflineError):
        search(workspace_at(tmp_path, hub.url, is_offline=True))

    assert hub.requests == []
