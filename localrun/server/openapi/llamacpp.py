"""OpenAPI description of the root routes of llama-server and vLLM."""

from __future__ import annotations

from localrun.server.llamacpp.tokens import (
    ROOT_APPLY_TEMPLATE,
    ROOT_DETOKENIZE,
    ROOT_TOKENIZE,
)
from localrun.server.openapi.openai import ERRORS
from localrun.server.openapi.operation import Operation, operation
from localrun.server.parsing.json_schema import (
    COUNT,
    FLAG,
    OBJECT,
    POSITIVE,
    TEXT,
    TOKEN,
    Schema,
    either,
    listed,
    maybe,
    record,
    ref,
)


def schemas() -> dict[str, Schema]:
    """Return the named schemas."""
    settings = record({"n_ctx": COUNT, "params": OBJECT})
    texts = ("model_alias", "model_path", "model_ftype", "chat_template", "build_info")
    flags = ("endpoint_slots", "endpoint_props", "endpoint_metrics", "is_sleeping")
    slot = {"id": COUNT, "model": TEXT, "n_ctx": COUNT, "speculative": FLAG, "is_processing": FLAG}
    return {
        "Props": record(
            {
                "default_generation_settings": settings,
                "total_slots": COUNT,
                "media_marker": TEXT,
                "modalities": record(dict.fromkeys(("vision", "video", "audio"), FLAG)),
                **dict.fromkeys((*texts, "bos_token", "eos_token"), TEXT),
                **dict.fromkeys(flags, FLAG),
            }
        ),
        "Slots": listed(record(slot)),
        "TokenizerInfo": record(
            {
                "tokenizer_class": TEXT,
                "vocab_size": COUNT,
                "model_max_length": maybe(COUNT),
                "chat_template": maybe(TEXT),
            },
            {
                **dict.fromkeys(("bos_token", "eos_token", "unk_token", "pad_token"), TEXT),
                **dict.fromkeys(("add_bos_token", "add_eos_token"), FLAG),
            },
        ),
        "RootTokens": _tokens(),
    }


def operations() -> dict[str, Operation]:
    """Return the operations by method and path."""
    slots = operation("List the slots of loaded models", answer=ref("Slots"), errors=ERRORS)
    slots["responses"]["503"] = {"description": "all slots are busy, and fail_on_no_slot is 1"}
    return {
        "POST /tokenize": operation(
            "Return the tokens of a text; the model is optional if there is one",
            body=ROOT_TOKENIZE,
            answer=ref("RootTokens"),
            errors=ERRORS,
        ),
        "POST /detokenize": operation(
            "Return the text of tokens; the model is optional if there is one",
            body=ROOT_DETOKENIZE,
            answer=record({"prompt": TEXT, "content": TEXT}),
            errors=ERRORS,
        ),
        "POST /apply-template": operation(
            "Return the prompt of a conversation; the model is optional if there is one",
            body=ROOT_APPLY_TEMPLATE,
            answer=record({"prompt": TEXT, "count": COUNT}),
            errors=ERRORS,
        ),
        "GET /props": operation("Describe a model", answer=ref("Props"), errors=ERRORS),
        "GET /slots": slots,
        "GET /tokenizer_info": operation(
            "Describe a model's tokenizer", answer=ref("TokenizerInfo"), errors=ERRORS
        ),
    }


def _tokens() -> Schema:
    piece = record({"id": TOKEN, "piece": either(TEXT, listed(COUNT))})
    tokens = listed(either(TOKEN, piece))
    return record(
        {"tokens": tokens},
        {"count": COUNT, "max_model_len": POSITIVE, "token_strs": listed(TEXT)},
    )
