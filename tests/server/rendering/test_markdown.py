from __future__ import annotations

import re

import pytest

from localrun.server.rendering.markdown import render_blocks
from tests.browsers.test_chat_page import HOSTILE

TEXT = """# Title

A line
and *another*.

- one

  still one
- two

```python
if x:

    pass
```

| a | b |
|---|--:|
| 1 | 2 |

$$
x
= y
$$

> said

Last one"""
BLOCK_STARTS = [0, 2, 5, 10, 16, 20, 25, 27]


def markup(text: str) -> str:
    return "".join(block.html for block in render_blocks(text))


def test_blocks_begin_where_their_text_begins() -> None:
    assert [block.line for block in render_blocks(TEXT)] == BLOCK_STARTS


def test_later_text_changes_none_but_the_last_block() -> None:
    whole = [block.html for block in render_blocks(TEXT)]

    for end in range(len(TEXT)):
        before = [block.html for block in render_blocks(TEXT[:end])]
        assert before[:-1] == whole[: len(before[:-1])] or "$$" in TEXT[:end].splitlines()[-4:], end


def test_the_last_block_alone_is_rendered_as_in_the_whole_text() -> None:
    lines = TEXT.split("\n")
    whole = [block.html for block in render_blocks(TEXT)]

    for index, start in enumerate(BLOCK_STARTS):
        rest = render_blocks("\n".join(lines[start:]))
        assert [block.html for block in rest] == whole[index:]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_text(text: str) -> None:
    tags = re.findall(r"<[^>]*>", markup(text))

    names = {re.split(r"[\s>/]", tag.lstrip("</"))[0] for tag in tags}
    assert names.isdisjoint({"script", "img", "svg", "iframe", "object", "style", "form", "base"})
    assert not [tag for tag in tags if re.search(r"\s(on\w+|style)\s*=", tag.replace('"', " "))]
    assert not [
        tag for tag in tags if "href" in tag and not re.search('href="(https?|mailto):', tag)
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see https://a.example/b.", '<a href="https://a.example/b" '),
        ("![cat](http://a.example/c.png)", ">cat</a>"),
        ("a $5 and $6", "a $5 and $6"),
        ("$a^2$", '<math display="inline"><mrow><msup>'),
        ("\\[a\\]", '<math display="block">'),
        ("$\\frac{$", "<code>\\frac{</code>"),
        ("> " * 25 + "deep", "deep"),
        ("- " * 25 + "deep", "deep"),
        ("- [x] done", "☑ done"),
        ("|a|\n|-:|\n|b|", '<td dir="auto" class="right">b</td>'),
        ("# a", "<h3"),
        ("[a]: http://b.example\n[a]", "[a]: <a "),
        ("```py\nreturn 1\n```", '<span class="k">return</span>'),
    ],
)
def test_markup(text: str, expected: str) -> None:
    assert expected in markup(text)


@pytest.mark.parametrize(
    "text",
    [
        *(
            piece * (60_000 // len(piece))
            for piece in ("> ", "- ", "*a_b", "[", "`a", "$a ", "- a\n")
        ),
        *(piece * (19_000 // len(piece)) for piece in ("[a](", "**a ", "![", "<a:", "~~", "\\(")),
        "```python\n" + "x = '" * 20_000,
        "$" + "{" * 1900 + "$",
        "$" + "\\sqrt" * 300 + "$",
    ],
)
def test_text_that_could_take_long_is_shown_to_its_end(text: str) -> None:
    assert render_blocks(text + "\n\nthe end", parse_s=0.2, highlight_s=0.2)[-1].html.endswith(
        ("the end</p>", "the end</p>\n", "the end\n</code></pre>\n")
    )


def test_a_text_without_time_is_shown_as_it_is() -> None:
    (block,) = render_blocks("# <b>", parse_s=0.0)

    assert block.html == '<p class="plain" dir="auto"># &lt;b&gt;</p>'


def test_code_without_time_is_not_highlighted() -> None:
    (block,) = render_blocks("```py\nreturn 1 < 2\n```", highlight_s=0.0)

    assert "<code>return 1 &lt; 2\n</code>" in block.html
