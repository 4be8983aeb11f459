"""``/v1/completions``: OpenAI's shapes, prompts of all kinds, and what is refused by name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.server.openai.test_api import events

if TYPE_CHECKING:
    from tests.server.serving import Served

AB = [ord(letter) for letter in "say a b"]


def go_on(served: Served, prompt: Any, **fields: Any) -> httpx.Response:
    body = {"model": "fake", "prompt": prompt, **fields}
    return httpx.post(f"{served.url}/v1/completions", json=body)


def asked(served: Served, **fields: Any) -> Any:
    """Return the request that reached the runner."""
    return json.loads(go_on(served, "echo", **fields).json()["choices"][0]["text"])


def test_the_whole_answer_has_openais_shape(served: Served) -> None:
    answer = go_on(served, "say one two").json()

    assert answer["object"] == "text_completion"
    assert answer["choices"] == [
        {"index": 0, "text": "one two", "logprobs": None, "finish_reason": "stop"}
    ]
    assert answer["usage"] == {
        "prompt_tokens": 5,
        "completion_tokens": 2,
        "total_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 3},
    }
    assert (answer["timings"]["prompt_n"], answer["timings"]["predicted_n"]) == (2, 2)


def test_each_prompt_gets_n_answers_in_order_and_counts_once(served: Served) -> None:
    answer = go_on(served, ["say x", AB], n=2).json()

    assert [(one["index"], one["text"]) for one in answer["choices"]] == [
        (0, "x"), (1, "x"), (2, "a b"), (3, "a b"),
    ]  # fmt: skip
    assert answer["usage"]["prompt_tokens"] == 10
    assert answer["usage"]["completion_tokens"] == 6


@pytest.mark.parametrize("prompt", ["say a b", ["say a b"], AB, [AB]])
def test_a_prompt_is_a_text_or_tokens_or_a_list_of_them(served: Served, prompt: Any) -> None:
    assert go_on(served, prompt).json()["choices"][0]["text"] == "a b"


def test_a_stream_has_the_same_text_then_the_reason_then_the_usage(served: Served) -> None:
    found = events(
        go_on(served, "say a b", stream=True, echo=True, stream_options={"include_usage": True})
    )

    texts = [choice["text"] for event in found for choice in event["choices"]]
    ends = [choice["finish_reason"] for event in found for choice in event["choices"]]
    assert texts == ["say a b", "a", " b", ""]
    assert ends == [None, None, None, "stop"]
    assert found[-1]["choices"] == []
    assert found[-1]["usage"]["total_tokens"] == 7
    assert {event["object"] for event in found} == {"text_completion"}


def test_scores_stand_in_lists_beside_the_text_streamed_or_not(served: Served) -> None:
    whole = go_on(served, "say añb cd", logprobs=2).json()["choices"][0]["logprobs"]
    streamed = [
        event["choices"][0]["logprobs"]
        for event in events(go_on(served, "say añb cd", logprobs=2, stream=True))[:-1]
    ]

    assert whole == {
        "tokens": ["añb", " cd"],
        "token_logprobs": [-0.5, -0.5],
        "top_logprobs": [{"a": -1.0, "ñ": -1.0}, {" ": -1.0, "c": -1.0}],
        "text_offset": [0, 3],
    }
    for name, values in whole.items():
        assert [value for chunk in streamed for value in chunk[name]] == values


def test_an_error_in_the_middle_is_an_event_and_the_stream_ends_properly(served: Served) -> None:
    found = events(go_on(served, ["die", "say x"], stream=True))

    assert found[-1]["error"]["code"] == "runner_died"


def test_fields_of_other_servers_reach_the_model(served: Served) -> None:
    request = asked(
        served,
        suffix="after",
        n_predict=7,
        repetition_penalty=1.5,
        logit_bias={"5": -100, "7": 2.5, "8": 0},
        min_p=0.2,
        ignore_eos=True,
        stop="\n",
        prediction={"type": "content", "content": "x"},
        user="me",
        cache_prompt=True,
        id_slot=3,
    )

    assert (request["suffix"], request["num_predict"], request["stop"]) == ("after", 7, ["\n"])
    sampling = request["sampling"]
    assert sampling["logit_bias"] == [[5, -100.0], [7, 2.5]]
    assert (sampling["repeat_penalty"], sampling["min_p"], sampling["ignore_eos"]) == (
        1.5,
        0.2,
        True,
    )


def test_a_length_may_be_zero_or_unlimited_and_have_a_least(served: Served) -> None:
    assert asked(served, max_tokens=0)["num_predict"] == 0
    assert asked(served, max_tokens=-1)["num_predict"] is None
    assert asked(served, min_tokens=4)["sampling"]["min_tokens"] == 4


def test_what_the_request_omits_the_recipe_says(served: Served) -> None:
    silent = asked(served)
    nulls = asked(
        served, temperature=None, top_p=None, max_tokens=None, stop=None, logit_bias=None, seed=None
    )

    assert nulls["sampling"] == silent["sampling"]
    assert (nulls["num_predict"], nulls["stop"]) == (silent["num_predict"], silent["stop"])
    assert silent["num_predict"] == 16  # OpenAI's default, as no recipe says otherwise


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [[]]}, "prompt"),
        ({"prompt": ["a", 1]}, "prompt"),
        ({"prompt": [1, "a"]}, "prompt"),
        ({"prompt": [1, True]}, "prompt"),
        ({"prompt": [-1]}, "prompt"),
        ({"prompt": {"a": 1}}, "prompt"),
        ({"prompt": ["a"] * 100, "n": 6}, "prompt"),
        ({"prompt": [1], "suffix": "x"}, "suffix"),
        ({"best_of": 2}, "best_of"),
        ({"n": 2, "best_of": 3}, "best_of"),
        ({"logprobs": True}, "logprobs"),
        ({"logprobs": 21}, "logprobs"),
        ({"max_tokens": -2}, "max_tokens"),
        ({"logit_bias": {"x": 1}}, "logit_bias.x"),
        ({"logit_bias": {"1": 101}}, "logit_bias.1"),
        ({"logit_bias": [1]}, "logit_bias"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"use_beam_search": True}, "use_beam_search"),
        ({"min_tokens": 4, "max_tokens": 3}, "min_tokens"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
    ],
)
def test_what_cannot_be_honoured_is_400_and_named(
    served: Served, fields: dict[str, Any], param: str
) -> None:
    response = go_on(served, "say x") if not fields else go_on(served, **{"prompt": "x", **fields})

    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


@pytest.mark.parametrize(
    ("prompt", "param"),
    [
        ({"prompt_string": "x", "multimodal_data": ["AAAA"]}, "prompt.multimodal_data"),
        ({"prompt_string": "<__media__>"}, "prompt.multimodal_data"),
        ({"multimodal_data": []}, "prompt.prompt_string"),
        ({"prompt_string": 3}, "prompt.prompt_string"),
        ({"prompt_string": "<__media__>", "multimodal_data": [3]}, "prompt.multimodal_data"),
        ({"prompt_string": "<__media__>", "multimodal_data": ["?"]}, "prompt.multimodal_data[0]"),
    ],
)
def test_media_of_a_prompt_are_checked(served: Served, prompt: dict[str, Any], param: str) -> None:
    answer = httpx.post(f"{served.url}/v1/completions", json={"model": "fake", "prompt": prompt})

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_a_prompt_object_may_have_no_media(served: Served) -> None:
    body = {"model": "fake", "prompt": {"prompt_string": "say x y"}}

    answer = httpx.post(f"{served.url}/v1/completions", json=body)

    assert answer.json()["choices"][0]["text"] == "x y"
