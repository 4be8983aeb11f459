"""Chat templates that are hostile, and honest ones beside Jinja's own sandbox."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from localrun.chat.budget import RenderLimits
from localrun.chat.sizes import MAX_SIZE
from localrun.chat.template import ChatTemplate
from localrun.errors import UsageError
from tests.measuring import plain_loops

HELLO = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "a\nb <x>"}]
SHORT, LONG = RenderLimits(seconds=0.3), RenderLimits(seconds=60)
MEGABYTE = 1024 * 1024
ROOT = Path(__file__).parents[2]


def doubled(step: str, *, start: str = "['x']", end: str = "{{ ns.x }}") -> str:
    """Return a template that does a step 60 times."""
    return (
        f"{{% set ns = namespace(x={start}) %}}"
        f"{{% for i in range(60) %}}{{% set ns.x = {step} %}}{{% endfor %}}{end}"
    )


def macro_tree() -> str:
    """Return 40 macros, each of which calls the next one twice."""
    macros = [
        f"{{% macro a{n}() %}}{{{{ a{n + 1}() }}}}{{{{ a{n + 1}() }}}}{{% endmacro %}}"
        for n in range(40)
    ]
    return f"{''.join(macros)}{{% macro a40() %}}x{{% endmacro %}}{{{{ a0() }}}}"


LOOPS = {
    "nested loops": "{% for i in range(10**5) %}{% for j in range(10**5) %}{% endfor %}"
    "{% endfor %}",
    "loops over text": "{% for i in 'x' * 10**7 %}{% for j in 'x' * 10**7 %}{% endfor %}"
    "{% endfor %}",
    "macros": macro_tree(),
    "searches": "{% set x = 'a' * 10**7 %}{% set y = 'a' * 10**6 ~ 'b' %}"
    "{% for i in range(10**5) %}{% if y in x %}{% endif %}{% endfor %}",
    "sorts": "{% for i in range(10**5) %}{% set x = range(10**5) | sort | list %}{% endfor %}",
    "filters": "{% for i in range(10**5) %}{{ range(10**5) | select('odd') | list }}{% endfor %}",
    "filters in a row": "{{ range(10**5) | map('string') | map('replace', '1', '2') | join }}"
    * 200,
    "splits": "{% for i in range(10**5) %}{% set x = ('x ' * 10**6).split() %}{% endfor %}",
    "loop filter": "{% for x in range(10**5) if x in range(10**5) | list %}{% endfor %}",
}
BOMBS = {
    "text times": "{{ 'x' * 10**10 }}",
    "times text": "{{ 10**10 * 'x' }}",
    "list times": "{{ ([0] * 10**10) | length }}",
    "list of lists times": "{% set x = [[[0] * 1000] * 100] * 10 %}{{ x * 100 }}",
    "power": "{{ 10 ** (10 ** 8) }}",
    "squares": doubled("ns.x * ns.x", start="3"),
    "tilde": doubled("ns.x ~ ns.x", start="'x'"),
    "plus": doubled("ns.x + ns.x", start="'x'"),
    "lists plus": doubled("ns.x + ns.x"),
    "set block": "{% set x = 'x' * 10**6 %}{% set y %}{% for i in range(10**5) %}{{ x }}"
    "{% endfor %}{% endset %}",
    "output": "{% set x = 'x' * 10**6 %}{% for i in range(10**5) %}{{ x }}{% endfor %}",
    "join": "{{ (['x' * 10**6] * 10**4) | join }}",
    "joined": "{{ ''.join(['x' * 10**6] * 10**4) }}",
    "joined by": "{{ ('x' * 10**6).join(range(10**4) | map('string')) }}",
    "center": "{{ 'x' | center(10**9) }}",
    "ljust": "{{ 'x'.ljust(10**9) }}",
    "zfill": "{{ 'x'.zfill(10**9) }}",
    "tabs": "{{ ('\\t' * 1000).expandtabs(10**8) }}",
    "format": "{{ '{:>1000000000}'.format(1) }}",
    "format inside": "{{ '{:{}}'.format(1, 10**9) }}",
    "format map": "{{ '{:>1000000000}'.format_map({}) }}",
    "format again": "{{ ('{0}' * 10**5).format('x' * 10**5) }}",
    "percent": "{{ '%1000000000d' % 1 }}",
    "percent star": "{{ '%*d' % (10**9, 1) }}",
    "percent again": "{{ ('%(a)s' * 10**5) % {'a': 'x' * 10**5} }}",
    "format filter": "{{ '%1000000000d' | format(1) }}",
    "mapped format": "{{ ['%1000000000d'] | map('format', 1) | list }}",
    "replace": "{{ ('x' * 10**6).replace('x', 'y' * 10**6) }}",
    "replace filter": "{{ ('x' * 10**6) | replace('x', 'y' * 10**6) }}",
    "indent": "{{ ('\\n' * 10**6) | indent(10**6) }}",
    "json indent": "{{ [[1]] | tojson(indent=10**9) }}",
    "batch": "{{ [1] | batch(10**9, 0) | list }}",
    "slice": "{{ [1] | slice(10**9, 0) | list }}",
    "round": "{{ 15 | round(10**7, 'ceil') }}",
    "sum": "{{ ([[1] * 1000] * 10000) | sum(start=[]) | length }}",
    "lists in lists": doubled("[ns.x, ns.x]"),
    "maps in maps": doubled("{'a': ns.x, 'b': ns.x}", end="{{ ns.x | tojson }}"),
    "dicts in dicts": doubled("dict(a=ns.x, b=ns.x)", end="{{ ns.x | string }}"),
    "batches in batches": doubled("[ns.x] | batch(2, ns.x) | first"),
    "varargs": "{% set ns = namespace(x=['x']) %}"
    "{% macro m() %}{% set ns.x = varargs %}{% endmacro %}"
    "{% for i in range(60) %}{{ m(ns.x, ns.x) }}{% endfor %}{{ ns.x }}",
    "integer of hex digits": "{{ ('f' * 4000000) | int(0, 16) }}",
    "mapped integers": "{{ ['f' * 4000000] | map('int', 0, 16) | list }}",
    "integer divided": "{% set x = ('f' * 4000000) | int(0, 16) %}{{ x // (x - 1) }}",
    "integers added": doubled("ns.x + ns.x", start="2**60"),
    "power of a power": "{{ (2 ** 60) ** (2 ** 60) }}",
    "integer divided by a constant": f"{{{{ 0x{'f' * 3000} // 0x{'e' * 1500} }}}}",
    "modulo": f"{{{{ 0x{'f' * 3000} % 0x{'e' * 1500} }}}}",
    "stripped of many": "{{ ('a' * 10**6).strip('b' * 10**6 ~ 'a') }}",
    "trimmed of many": "{{ ('a' * 10**6) | trim('b' * 10**6 ~ 'a') }}",
    "searched from the end": "{{ ('a' * 10**6).rfind('ab' ~ 'a' * 10**5) }}",
    "split from the end": "{{ ('a' * 10**6).rsplit('ab' ~ 'a' * 10**5) }}",
    "parted from the end": "{{ ('a' * 10**6).rpartition('ab' ~ 'a' * 10**5) }}",
    "pairs": "{{ dict([[1, 2]] * 1000) }}",
    "pairs of a namespace": "{{ namespace([[1, 2]] * 1000) }}",
    "parts": "{% set x = 'x' * 10**7 %}"
    + "".join(f"{{% set x{n} = x[{n}:] %}}" for n in range(200)),
}
FORBIDDEN = {
    "lipsum": "{{ lipsum(10**6) }}",
    "cycler": doubled("cycler(ns.x, ns.x).items"),
    "fromkeys": doubled("{}.fromkeys('ab', ns.x)"),
    "bytes": "{{ (1).to_bytes(10**10, 'big') }}",
    "encode": "{{ 'x'.encode().ljust(10**10) }}",
    "translate": "{{ ('x' * 10**6).translate({120: 'y' * 10**6}) }}",
    "by filter": "{{ ('x' | attr('encode'))().ljust(10**10) }}",
    "by item": "{{ 'x'['encode']().ljust(10**10) }}",
    "range": "{% for i in range(10**9) %}{% endfor %}",
    "recursion": "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
    "blocks": "{% block a %}{{ self.a() }}{{ self.a() }}{% endblock %}",
    "loop recursion": "{% for x in [1] recursive %}{{ loop([1]) }}{{ loop([1]) }}{% endfor %}",
}
INVALID = {
    "parentheses": f"{{{{ {'(' * 5000}1{')' * 5000} }}}}",
    "ifs": "{% if 1 %}" * 3000 + "{% endif %}" * 3000,
    "fors": "{% for a in b %}" * 30 + "{% endfor %}" * 30,
    "sum": f"{{{{ {'+'.join(['a'] * 20000)} }}}}",
    "autoescape": "{% autoescape true %}{{ 'x' ~ 'y' }}{% endautoescape %}",
    "unknown filter": "{{ 'x' | urlize }}",
}
HONEST = [
    (
        "{% for m in messages %}{{ loop.index0 }}{{ loop.last }}{{ loop.length }}"
        "{{ loop.revindex }}{{ loop.previtem is defined }}{{ loop.changed(m.role) }}"
        "{% else %}-{% endfor %}"
    ),
    (
        "{% for m in messages[::-1] if m.role == 'user' %}{{ m.content }}{{ loop.first }}"
        "{% endfor %}"
    ),
    (
        "{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}"
        "{{ m.content ~ 1 ~ none }}{% break %}{% endfor %}"
    ),
    (
        "{% for k, v in messages[0].items() %}{{ k }}={{ v }}{% endfor %}"
        "{{ messages[0] | dictsort }}"
    ),
    ("{% for x in [[1, [2]], [3]] recursive %}{{ loop(x) if x is iterable else x }}{% endfor %}"),
    (
        "{% macro m(a, b=2) %}{{ a }}{{ b }}{{ varargs }}{{ caller() if caller }}"
        "{% endmacro %}{{ m(1) }}{{ m(1, 3, 4) }}{% call m(5) %}inside{% endcall %}"
    ),
    ("{% set x %}{{ messages | length }}!{% endset %}{{ x }}{% filter upper %}abc{% endfilter %}"),
    (
        "{% set ns = namespace(a=1, l=[]) %}{% for m in messages %}{% set ns.a = ns.a + 1 %}"
        "{% set ns.l = ns.l + [m.role] %}{% endfor %}{{ ns.a }}{{ ns.l }}"
    ),
    ("{{ messages | map(attribute='role') | join(', ') }}{{ messages | join('-', 'content') }}"),
    (
        "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}"
        "{{ [3, 1, 2] | sort }}"
    ),
    (
        "{{ ', '.join(messages | map(attribute='role')) }}{{ 'a-b'.split('-') }}"
        "{{ '%s|%5d' % ('a', 3) }}"
    ),
    ("{{ '{}-{a}'.format(1, a=2) }}{{ 'x' * 3 }}{{ 2 ** 10 }}{{ 7 % 4 }}{{ 7 // 2 }}{{ [0] * 2 }}"),
    (
        "{{ (messages[0].content + '!') | trim | title }}"
        "{{ messages[1].content | replace('a', 'c') }}"
    ),
    (
        "{{ 'hi' in messages[0].content }}{{ 'x' not in 'abc' }}{{ 1 < 2 <= 2 }}"
        "{{ messages[0]['role'] }}"
    ),
    (
        "{{ absent }}{{ messages[0].absent is defined }}{{ messages[0].get('absent', 'd') }}"
        "{{ 1.50 }}"
    ),
    (
        "{{ messages[1].content | e }}{{ messages[1].content | safe }}{{ none }}{{ true }}"
        "{{ (1, 'a') }}"
    ),
    (
        "{{ dict(a=1, **{'b': 2}) }}{{ {'a': [1]} }}{{ [1, 2, 3] | batch(2, 0) | list }}"
        "{{ 3.14 | round(1) }}"
    ),
    (
        "{{ '12' | int }}{{ 'many words' | int(5) }}{{ 7 - 3 }}{{ 7 / 2 }}{{ -7 // 2 }}"
        "{{ 2 ** 62 }}{{ ' x '.strip() }}{{ 'xax'.strip('x') }}{{ 'a.b.c'.rsplit('.', 1) }}"
        "{{ 'abc'.rfind('c') }}{{ dict([['a', 1]]) }}{{ dict(messages[0]) }}"
    ),
    "{{ messages[0].content.upper().startswith('H') }}{{ 'a\nb' | indent(2) }}",
    ("{% set a, b = 1, [2, 3] %}{{ a }}{{ b[-1] }}{{ 'abc'[1:] }}{{ messages[-1:] | length }}"),
    (
        "{% with x = 3 %}{{ x }}{% endwith %}{% block b %}{{ messages | length }}"
        "{% endblock %}{{ self.b() }}"
    ),
]


def rendered(source: str, *, limits: RenderLimits = LONG, **options: Any) -> str:
    template = ChatTemplate(source, bos="<s>", eos="</s>", limits=limits)
    return template.render(HELLO, options=options)


@pytest.mark.parametrize("name", LOOPS)
def test_a_template_that_does_not_end_is_stopped(name: str) -> None:
    def stop() -> None:
        with pytest.raises(UsageError, match=r"stopped: (.* took more than 0.3 s|it builds)"):
            rendered(LOOPS[name], limits=SHORT)

    assert plain_loops(stop) < 2000


@pytest.mark.parametrize("name", BOMBS)
def test_a_template_that_eats_memory_is_stopped(name: str) -> None:
    with pytest.raises(UsageError, match="stopped: it builds too much text"):
        rendered(BOMBS[name])


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit of address space")
def test_no_bomb_needs_much_memory() -> None:
    code = f"""
import resource
from tests.chat.test_sandbox import BOMBS, UsageError, rendered
with open("/proc/self/statm") as statm:
    used = int(statm.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + {600 * MEGABYTE}, -1))
for name, source in BOMBS.items():
    try:
        rendered(source)
    except UsageError as error:
        assert "too much text" in error.message, (name, error.message)
    else:
        raise SystemExit(name)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize("name", FORBIDDEN)
def test_what_a_template_may_not_do_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"(refuses|fails on) this conversation"):
        rendered(FORBIDDEN[name])


@pytest.mark.parametrize("name", INVALID)
def test_what_does_not_compile_is_refused_at_once(name: str) -> None:
    with pytest.raises(UsageError, match="not valid"):
        ChatTemplate(INVALID[name], bos="", eos="")


def test_a_template_of_any_size_is_not_compiled() -> None:
    with pytest.raises(UsageError, match="longer than"):
        ChatTemplate("x" * 200_000, bos="", eos="")


@pytest.mark.parametrize("source", HONEST)
def test_an_honest_template_means_what_it_means_in_jinja(source: str) -> None:
    plain = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )

    expected = plain.from_string(source).render(messages=HELLO)

    assert rendered(source) == expected


def test_every_rendering_has_the_whole_budget() -> None:
    template = ChatTemplate(
        "{{ 'x' * 10**6 }}", bos="", eos="", limits=RenderLimits(built=3 * 10**6)
    )

    assert {len(template.render(HELLO)) for _ in range(20)} == {10**6}


def test_threads_have_budgets_of_their_own() -> None:
    endless = ChatTemplate(LOOPS["nested loops"], bos="", eos="", limits=SHORT)
    outcomes: list[str] = []

    def render() -> None:
        with pytest.raises(UsageError) as caught:
            endless.render(HELLO)
        outcomes.append(caught.value.message)

    threads = [threading.Thread(target=render) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(outcomes) == 3
    assert all("took more than" in outcome for outcome in outcomes)


def test_a_long_conversation_is_no_bomb() -> None:
    long = [{"role": "user", "content": "word " * 200_000}] * 4
    template = ChatTemplate(None, bos="", eos="")

    assert 4_000_000 < len(template.render(long)) < MAX_SIZE
