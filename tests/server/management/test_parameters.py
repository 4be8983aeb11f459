from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import httpx

from localrun.server.management.parameters import describe_parameters
from localrun.services.recipes import StoredRecipe
from tests.server.serving import FakeCatalogue

if TYPE_CHECKING:
    from tests.server.serving import Served


def test_each_parameter_has_its_value_and_who_set_it() -> None:
    pairs = (("temperature", 0.2), ("stop", "END"), ("top_k", 40))
    recipe = StoredRecipe(system="Be brief.", parameters=pairs)
    described = describe_parameters(replace(FakeCatalogue().model, recipe=recipe))

    found = {row["name"]: (row["value"], row["source"]) for row in described["parameters"]}
    assert described["system"] == "Be brief."
    assert found["temperature"] == (0.2, "recipe")
    assert found["stop"] == (["END"], "recipe")
    assert found["top_k"] == (40, "recipe")
    assert found["top_p"] == (0.9, "default")
    assert found["num_ctx"] == (None, "default")
    assert described["recipe"].splitlines() == [
        "FROM fake:latest",
        "SYSTEM Be brief.",
        "PARAMETER temperature 0.2",
        "PARAMETER stop END",
        "PARAMETER top_k 40",
    ]


def test_the_route_describes_a_stored_model(served: Served) -> None:
    url = f"{served.url}/api/localrun/parameters"

    assert httpx.get(url, params={"model": "fake"}).json()["model"] == "fake:latest"
    assert httpx.get(url, params={"model": "nosuch"}).status_code == 404
    assert httpx.get(url).status_code == 400
    assert httpx.post(f"{served.url}/api/localrun/presence").json() == {"status": "success"}
