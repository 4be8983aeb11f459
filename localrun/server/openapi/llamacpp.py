"""The reads of llama-server's and vLLM's programs at the root as OpenAPI's operations."""

from __future__ import annotations

from localrun.server.openapi.openai import ERRORS
from localrun.server.openapi.words import (
    COUNT,
    FLAG,
    MODEL,
    OBJECT,
    POSITIVE,
    TEXT,
    TOKEN,
    Operation,
    Schema,
    either,
    listed,
    maybe,
    operation,
    record,
    ref,
    request,
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
    messages = listed(ref("Message"), minItems=1)
    text: Schema = {"prompt": TEXT, "text": TEXT, "messages": listed(ref("Message"))}
    special = dict.fromkeys(("add_special", "parse_special", "with_pieces"), FLAG)
    slots = operation(
        "Tell what the places of loaded models do", answer=ref("Slots"), errors=ERRORS
    )
    slots["responses"]["503"] = {"description": "all are busy, and fail_on_no_slot is 1"}
    return {
        "POST /tokenize": operation(
            "Tell the tokens of a text, of the only model if none is named",
            body=request({}, {"model": MODEL, "content": TEXT, **special, **text}),
            answer=ref("RootTokens"),
            errors=ERRORS,
        ),
        "POST /detokenize": operation(
            "Tell the text of tokens, of the only model if none is named",
            body=request({"tokens": listed(TOKEN)}, {"model": MODEL}),
            answer=record({"prompt": TEXT, "content": TEXT}),
            errors=ERRORS,
        ),
        "POST /apply-template": operation(
            "Write the prompt of a conversation, of the only model if none is named",
            body=request({"messages": messages}, {"model": MODEL, "chat_template_kwargs": OBJECT}),
            answer=record({"prompt": TEXT, "count": COUNT}),
            errors=ERRORS,
        ),
        "GET /props": operation("Tell of a model", answer=ref("Props"), errors=ERRORS),
        "GET /slots": slots,
        "GET /tokenizer_info": operation(
            "Tell of a model's tokenizer", answer=ref("TokenizerInfo"), errors=ERRORS
        ),
    }


def _tokens() -> Schema:
    piece = record({"id": TOKEN, "piece": either(TEXT, listed(COUNT))})
    tokens = listed(either(TOKEN, piece))
    return record(
        {"tokens": tokens},
        {"count": COUNT, "max_model_len": POSITIVE, "token_strs": listed(TEXT)},
    )
