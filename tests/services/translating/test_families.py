"""A model of each family, as Ollama published it, computes after a pull what the original does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from localrun.gguf.header import read_header
from localrun.names.parse import parse_name
from localrun.services.pulling.pull import pull_model
from localrun.store.manifest import Role
from localrun.store.store import embedded_models
from tests.services.making import entry_of
from tests.services.translating.publishing import REPO, publish
from tests.translation.computing import computed
from tests.translation.families import FAMILIES

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.services.workspace import Workspace
    from tests.fakes.registry import FakeRegistry
    from tests.fakes.web import Web


@pytest.mark.parametrize("name", FAMILIES)
def test_a_pulled_model_computes_what_the_original_does(
    name: str, online: Workspace, web: Web, registry: FakeRegistry, tmp_path: Path
) -> None:
    ours, theirs = tmp_path / "ours.gguf", tmp_path / "theirs.gguf"
    FAMILIES[name].make(ours, embedded_models()["guide:latest"])
    FAMILIES[name].write_old(ours, theirs)
    published = publish(registry, theirs.read_bytes())

    pulled = pull_model(online, parse_name(f"{web.host}/{REPO}"))

    manifest = entry_of(online, pulled.name).manifest
    weights = online.store.blobs.path(manifest.with_role(Role.WEIGHTS)[0].digest)
    assert manifest.published == published
    assert read_header(weights).architecture == read_header(ours).architecture
    assert np.allclose(computed(weights), computed(ours), atol=1e-5)
