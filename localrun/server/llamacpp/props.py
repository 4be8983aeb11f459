"""``/props``, ``/slots``, ``/tokenizer_info``: properties of models and slots.

Fields have the names and the meaning of those servers. These routes never load a model: for a
model that is not loaded, ``n_ctx`` and ``total_slots`` are 0, and it has no slots. ``model_path``
is the model's name, since paths of the machine are private.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

from localrun import __version__
from localrun.server.core.defaults import num_predict_of, sampling_of, stop_of
from localrun.server.llamacpp.model import meant_model
from localrun.server.parsing.options import SAMPLING
from localrun.server.routing.routes import Routes
from localrun.services.remotes.stored import refuse_remote
from localrun.services.tokenizer import read_tokenizer

if TYPE_CHECKING:
    from localrun.runner.messages import JsonObject
    from localrun.server.core.loaded_names import Catalogue
    from localrun.services.stored_model import StoredModel
    from localrun.supervisor.pool import RunnerPool
    from localrun.supervisor.status import RunningModel

UNAVAILABLE = 503
RANDOM_SEED = 2**32 - 1  # llama.cpp's number for a random seed
UNLIMITED = -1
SHOWN = (*(name for name in SAMPLING if name != "draft_num_predict"), "dry_sequence_breakers")


def props_routes(catalogue: Catalogue, pool: RunnerPool) -> Routes:
    """Return the router."""
    router = Routes()

    def stored(name: str | None) -> StoredModel:
        model = catalogue.find_model(meant_model(name, pool, catalogue))
        refuse_remote(model, "its tokenizer is not")
        return model

    @router.head("/props")
    @router.get("/props")
    async def props(model: str | None = None) -> JSONResponse:
        def read() -> JsonObject:
            stored_model = stored(model)
            return _props(stored_model, _loaded(stored_model, pool))

        return JSONResponse(await asyncio.to_thread(read))

    @router.head("/slots")
    @router.get("/slots")
    async def slots(model: str | None = None, fail_on_no_slot: str = "") -> JSONResponse:
        name = (await asyncio.to_thread(catalogue.find_model, model)).name if model else None
        listed = _slots(pool.running(), name)
        are_all_busy = bool(listed) and all(slot["is_processing"] for slot in listed)
        is_refused = are_all_busy and fail_on_no_slot not in {"", "0"}
        return JSONResponse(listed, UNAVAILABLE if is_refused else 200)

    @router.head("/tokenizer_info")
    @router.get("/tokenizer_info")
    async def tokenizer_info(model: str | None = None) -> JSONResponse:
        return JSONResponse(await asyncio.to_thread(lambda: _tokenizer(stored(model))))

    return router


def _loaded(model: StoredModel, pool: RunnerPool) -> RunningModel | None:
    return next((running for running in pool.running() if running.name == model.name), None)


def _props(model: StoredModel, loaded: RunningModel | None) -> JsonObject:
    special = read_tokenizer(model.shards[0]).special
    return {
        "default_generation_settings": {
            "n_ctx": loaded.num_ctx if loaded else 0,
            "params": _params(model),
        },
        "total_slots": loaded.num_parallel if loaded else 0,
        "model_alias": model.name.removesuffix(":latest"),
        "model_path": model.name,
        "model_ftype": model.details.quantization_level,
        "modalities": {
            "vision": "vision" in model.details.capabilities,
            "video": False,
            "audio": "audio" in model.details.capabilities,
        },
        "endpoint_slots": True,
        "endpoint_props": False,  # props cannot be changed by POST
        "endpoint_metrics": True,
        "chat_template": model.chat_template or "",
        "bos_token": special.get("bos_token", ""),
        "eos_token": special.get("eos_token", ""),
        "build_info": f"localrun-{__version__}",
        "is_sleeping": loaded is None,
    }


def _params(model: StoredModel) -> JsonObject:
    """Return the sampling parameters of a request that gives none."""
    sampling = asdict(sampling_of(model.recipe, {}))
    limit = num_predict_of(model.recipe, None)
    length = UNLIMITED if limit is None else limit
    return {
        **{name: sampling[name] for name in SHOWN},
        "seed": RANDOM_SEED if sampling["seed"] is None else sampling["seed"],
        "stop": list(stop_of(model.recipe, None)),
        "max_tokens": length,
        "n_predict": length,
    }


def _slots(loaded: list[RunningModel], name: str | None) -> list[JsonObject]:
    """Return a slot for each request that a runner can compute beside others.

    Models that share a runner share its slots, which have the name of the first of them.
    """
    slots: list[JsonObject] = []
    for owner in loaded:
        sharing = [model for model in loaded if owner.name in {model.name, model.shared_with}]
        if owner.shared_with or (name is not None and all(model.name != name for model in sharing)):
            continue
        num_running = sum(model.num_open - model.num_waiting for model in sharing)
        slots += [
            {
                "id": len(slots) + place,
                "model": owner.name,
                "n_ctx": owner.num_ctx,
                "speculative": bool(owner.draft_sources),
                "is_processing": place < num_running,
            }
            for place in range(owner.num_parallel)
        ]
    return slots


def _tokenizer(model: StoredModel) -> JsonObject:
    info = read_tokenizer(model.shards[0])
    return {
        "tokenizer_class": info.kind,
        "vocab_size": info.num_tokens,
        "model_max_length": model.details.context_length,
        "chat_template": model.chat_template,
        **info.special,
        **info.added,
    }
