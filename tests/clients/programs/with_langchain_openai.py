"""LangChain's integration of OpenAI."""

from __future__ import annotations

from functools import partial

import acting
import with_langchain
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import SecretStr

open_model = partial(
    ChatOpenAI, base_url=f"{acting.URL}/v1", api_key=SecretStr("local"), max_retries=0
)
model = open_model(model=acting.MODEL, temperature=0)
with_langchain.act(
    model,
    open_model(model=acting.ENDLESS),
    open_model(model=acting.UNKNOWN),
    OpenAIEmbeddings(
        model=acting.EMBEDDER,
        base_url=f"{acting.URL}/v1",
        api_key=SecretStr("local"),
        check_embedding_ctx_length=False,  # else it fetches OpenAI's tokenizer
    ),
    required_tool=lambda: with_langchain.required_tool(model),
    schema_by_tool=lambda: with_langchain.by_tool(model),
)
