"""LangChain's integration of Ollama."""

from __future__ import annotations

import acting
import with_langchain
from langchain_ollama import ChatOllama, OllamaEmbeddings


def thinking() -> object:
    model = ChatOllama(model=acting.MODEL, base_url=acting.URL, temperature=0, reasoning=True)
    answer = model.invoke(acting.QUESTION)
    return [answer.additional_kwargs["reasoning_content"], answer.text]


with_langchain.act(
    ChatOllama(model=acting.MODEL, base_url=acting.URL, temperature=0),
    ChatOllama(model=acting.ENDLESS, base_url=acting.URL),
    ChatOllama(model=acting.UNKNOWN, base_url=acting.URL),
    OllamaEmbeddings(model=acting.EMBEDDER, base_url=acting.URL),
    thinking=thinking,
)
