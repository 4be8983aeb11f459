"""Lines of lm-evaluation-harness and of common data sets, as tasks in the short form.

    lm-eval --log_samples   {"doc": {…}, "target": …, "arguments": …}
    MMLU                    {"question": …, "choices": [4 texts], "answer": 2}
    ARC, OpenBookQA         {"question": …, "choices": {"text": …, "label": …}, "answerKey": "B"}
    HellaSwag               {"ctx": …, "endings": [4 texts], "label": "3"}
    PIQA                    {"goal": …, "sol1": …, "sol2": …, "label": 0}
    BoolQ                   {"passage": …, "question": …, "answer": true}
    GSM8K                   {"question": …, "answer": "… #### 72"}

Prompts are those of lm-evaluation-harness without examples, so that figures can be compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

FINAL = "####"  # before the number in an answer of GSM8K
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def as_short_form(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the short form of a line, or the line itself if it is none of these."""
    if isinstance(fields.get("doc"), dict):
        return _of_harness(fields)
    for read in (_mmlu, _arc, _hellaswag, _piqa, _boolq, _gsm8k):
        found = read(fields)
        if found is not None:
            return found
    return fields


def _of_harness(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a sample's own document if it is known, else its prompt and its target."""
    doc = fields["doc"]
    known = as_short_form(doc)
    identity = {"id": str(fields["doc_id"])} if "doc_id" in fields else {}
    if known is not doc:
        return {**identity, **known}
    pairs = _arguments(fields.get("arguments"))
    target = fields.get("target")
    contexts = {context for context, _ in pairs}
    if len(pairs) > 1 and len(contexts) == 1:
        choices = [continuation for _, continuation in pairs]
        answer = int(target) if isinstance(target, str) and target.isdigit() else target
        return {**identity, "prompt": pairs[0][0], "choices": choices, "answer": answer}
    if pairs and isinstance(target, str):
        return {**identity, "prompt": pairs[0][0], "contains": target.strip()}
    return fields


def _arguments(given: object) -> list[tuple[str, str]]:
    """Return prompts and continuations: a list of pairs, or an object of objects."""
    if isinstance(given, dict):
        items: list[Any] = [
            list(each.values()) for each in given.values() if isinstance(each, dict)
        ]
    else:
        items = given if isinstance(given, list) else []
    pairs = [item for item in items if isinstance(item, list) and item]
    return [(str(item[0]), str(item[1]) if len(item) > 1 else "") for item in pairs]


def _mmlu(fields: Mapping[str, Any]) -> Mapping[str, Any] | None:
    question, choices, answer = (fields.get(name) for name in ("question", "choices", "answer"))
    if not (isinstance(question, str) and isinstance(choices, list) and isinstance(answer, int)):
        return None
    if "prompt" in fields or not 1 < len(choices) <= len(LETTERS):
        return None
    rows = [f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=False)]
    prompt = "\n".join([question.strip(), *rows, "Answer:"])
    return {"prompt": prompt, "choices": [f" {each}" for each in LETTERS[: len(choices)]],
            "answer": answer}  # fmt: skip


def _arc(fields: Mapping[str, Any]) -> Mapping[str, Any] | None:
    given, key = fields.get("question", fields.get("question_stem")), fields.get("answerKey")
    choices: Any = fields.get("choices")
    question: Any = given
    if isinstance(given, dict):  # as AI2 published it
        question, choices = given.get("stem"), given.get("choices", choices)
    if isinstance(choices, list) and all(isinstance(each, dict) for each in choices):
        choices = {name: [row.get(name) for row in choices] for name in ("label", "text")}
    if not isinstance(choices, dict) or not isinstance(key, str):
        return None
    labels, texts = choices.get("label"), choices.get("text")
    if not isinstance(labels, list) or not isinstance(texts, list) or key not in labels:
        return None
    return {
        "prompt": f"Question: {question}\nAnswer:",
        "choices": [f" {text}" for text in texts],
        "answer": labels.index(key),
    }


def _hellaswag(fields: Mapping[str, Any]) -> Mapping[str, Any] | None:
    context, endings, label = (fields.get(name) for name in ("ctx", "endings", "label"))
    if not (isinstance(context, str) and isinstance(endings, list)):
        return None
    answer = int(label) if isinstance(label, str) and label.isdigit() else label
    return {"prompt": context, "choices": [f" {each}" for each in endings], "answer": answer}


def _piqa(fields: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if not all(isinstance(fields.get(name), str) for name in ("goal", "sol1", "sol2")):
        return None
    choices = [f" {fields['sol1']}", f" {fields['sol2']}"]
    prompt = f"Question: {fields['goal']}\nAnswer:"
    return {"prompt": prompt, "choices": choices, "answer": fields.get("label")}


def _boolq(fields: Mapping[str, Any]) -> Mapping[str, Any] | None:
    passage, question, answer = (fields.get(name) for name in ("passage", "question", "answer"))
    if not (isinstance(passage, str) and isinstance(question, str) and isinstance(answer, bool)):
        return None
    prompt = f"{passage}\nQuestion: {question}?\nAnswer:"
    return {"prompt": prompt, "choices": [" no", " yes"], "answer": int(answer)}


def _gsm8k(fields: Mapping[str, Any]) -> Mapping[str, Any] | None:
    question, answer = fields.get("question"), fields.get("answer")
    if not (isinstance(question, str) and isinstance(answer, str) and FINAL in answer):
        return None
    text = answer.rpartition(FINAL)[2].strip().replace(",", "")
    try:
        number = float(text)
    except ValueError:
        return None
    return {"prompt": f"Question: {question}\nAnswer:", "number": number}
