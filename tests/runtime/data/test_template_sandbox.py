"""Templates that reach for the system, never end, or ask for all memory: refused, quickly, for the chat at hand."""

from __future__ import annotations

import contextlib

import pytest

from runtime.data.templates import RenderError, chat_template, render
from runtime.errors import UserError

CHAT = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]

REACHING = (
    "{{ messages.__class__.__mro__ }}",
    "{{ ''.__class__.__base__.__subclasses__() }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ lipsum.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ raise_exception.__globals__ }}",
    "{{ strftime_now.__self__ }}",
    "{{ messages | attr('__class__') }}",
    "{{ '' | attr('__cla' ~ 'ss__') | attr('__mro__') }}",
    "{{ [messages] | map(attribute='__class__') | list }}",
    "{{ [messages] | sort(attribute='__class__.__name__') }}",
    "{{ '{0.__class__.__mro__}'.format(messages) }}",
    "{{ '{x.__class__}'.format_map({'x': messages}) }}",
    "{{ ('{0.__class__}' | attr('format'))(messages) }}",
    "{{ messages['__class__'] }}",
    "{{ dict.__subclasses__() }}",
    "{% macro a() %}{% endmacro %}{{ a._func.__globals__ }}",
    "{% for m in messages %}{{ loop._iterable }}{{ m._number }}{% endfor %}",
    "{% set ns = namespace(__class__=1) %}{{ ns }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{{ messages.append(1) }}",
    "{{ messages[0].update({'role': 1}) }}",
)


@pytest.mark.parametrize("source", REACHING)
def test_nothing_of_python_is_reached(source: str) -> None:
    with contextlib.suppress(RenderError):
        text = render(chat_template(source, {}), CHAT).text
        assert not any(word in text for word in ("class", "object", "root", "module", "function", "uid="))
    assert CHAT == [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]


DOUBLING = "{% set ns = namespace(x=START) %}{% for n in range(60) %}{% set ns.x = MORE %}{% endfor %}{{ ns.x }}"
LONG = "{% set x = 'x' * 1000000 %}"
LARGE = (
    "{{ 'x' * 10 ** 10 }}",
    "{{ [0] * 10 ** 10 }}",
    "{{ 10 ** (10 ** 10) }}",
    DOUBLING.replace("START", "7").replace("MORE", "ns.x * ns.x"),
    DOUBLING.replace("START", "'x'").replace("MORE", "ns.x ~ ns.x"),
    DOUBLING.replace("START", "[1]").replace("MORE", "ns.x + ns.x"),
    DOUBLING.replace("START", "[1]").replace("MORE", "[ns.x, ns.x]"),
    DOUBLING.replace("START", "1").replace("MORE", "{'a': ns.x, 'b': ns.x}"),
    DOUBLING.replace("START", "1").replace("MORE", "namespace(a=ns.x, b=ns.x)"),
    "{% macro f(x, n) %}{% if n %}{{ f(x ~ x, n - 1) }}{% endif %}{% endmacro %}{{ f('x', 60) }}",
    LONG + "{% set y %}{% for n in range(100000) %}{{ x }}{% endfor %}{% endset %}",
    LONG + "{% for n in range(100000) %}{{ x }}{% endfor %}",
    LONG + "{{ x | replace('x', x) }}",
    LONG + "{{ x.replace('x', x) }}",
    LONG + "{{ ([x] * 1000000) | join }}",
    LONG + "{{ x.join(range(100000) | map('string')) }}",
    "{{ 'x'" + " | replace('x', 'xxxxxxxx')" * 20 + " }}",
    "{{ ''.ljust(10 ** 10) }}",
    "{{ 'x' | indent(10 ** 10, first=true) }}",
    "{{ '{:>10000000000}'.format(1) }}",
    "{{ '{:>{}}'.format(1, 10 ** 10) }}",
    "{{ '%10000000000d' % 1 }}",
    "{{ '%*d' % (10 ** 10, 1) }}",
    "{{ '%10000000000d' | format(1) }}",
    "{{ messages | tojson(indent=10 ** 9) }}",
)
ENDLESS = (
    "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
    "{% macro f() %}{% for a in range(9999) %}{% for b in range(999) %}{% endfor %}{% endfor %}{% endmacro %}{{ f() }}",
    "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
    "{% for a in [[]] recursive %}{{ loop([a]) }}{% endfor %}",
    "{% set r = range(100000) | list %}{% for a in range(100000) %}{% if r | sort %}{% endif %}{% endfor %}",
    "{% set r = range(100000) | list %}{% for a in range(100000) %}{% if 'z' in r %}{% endif %}{% endfor %}",
    "{% set x = 'x' * 10000000 %}{% for a in range(100000) %}{% if x ~ x %}{% endif %}{% endfor %}",
    "{% set x = 'x' * 10000000 %}{% for a in range(100000) %}{% if x[1:] %}{% endif %}{% endfor %}",
)


@pytest.mark.parametrize("source", [*LARGE, *ENDLESS])
def test_what_would_never_end_or_fill_memory_is_refused(source: str) -> None:
    with pytest.raises(RenderError, match=r"rounds|longer than|more than|width|recursion|items"):
        render(chat_template(source, {}), CHAT)


def test_a_filter_that_draws_at_random_or_lays_out_pages_is_not_there() -> None:
    for name in ("random", "center(100)", "wordwrap(10)", "pprint"):
        with pytest.raises(UserError, match="No filter named"):
            chat_template("{{ 'x' | " + name + " }}", {})


def test_a_long_chat_is_within_the_limits() -> None:
    source = (
        "{% for m in messages %}{% if messages | length - loop.index0 > 0 %}"
        "{% set content = m.content | trim %}{{ m.role + ': ' + content + '\\n' }}{% endif %}{% endfor %}"
    )
    chat = [{"role": ("user", "assistant")[number % 2], "content": "word " * 1000} for number in range(1000)]
    assert len(render(chat_template(source, {}), chat).text) > 4_900_000
