#!/usr/bin/env python3
"""Write what jinja2, set up by transformers, makes of small templates: fixtures/jinja2/probes.json.

    probes.py OUTPUT.json           write it
    probes.py OUTPUT.json --check   fail if it is not what it says
"""
import json, sys

from transformers.utils.chat_template_utils import render_jinja_template

# What the templates see, beside `messages` and `tools` (none).
CONTEXT = {
    "none": None, "yes": True, "no": False, "text": "  Zoë's \"cat\": <b>\n\t", "word": "a/b/c.d", "big": 12345678901,
    "floats": [1.0, 0.1, 1e16, 1e-5, -2.5, 123456.789, 1e22],
    "list": [3, "x", None, True, 1.5, ["y"], {"k": "v"}],
    "types": ["string", "null"], "empty": [], "hollow": {},
    "dict": {"b": 1, "a": {"é": [True, None, "it's", "\"\\\n\u200d\x01\u00a0😀"]}, "c": "x"},
    "people": [{"name": "Ann", "age": 3, "tags": {"x": 1}}, {"name": "bob", "age": 1}, {"name": "Cy", "age": 2}],
}
MESSAGES = [{"role": "system", "content": "S"}, {"role": "user", "content": "One <two>"}, {"role": "assistant", "content": "é three"}]

PROBES = [
    # Values as text.
    "{{ none }} {{ yes }} {{ no }} {{ big }} {{ missing }}|{{ none ~ yes ~ 1 ~ 1.5 }}|{{ [none, yes, missing is defined] }}",
    "{{ floats }}", "{% for f in floats %}{{ f }} {% endfor %}", "{{ 7 / 2 }} {{ 4 / 2 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 2 ** 3 }}",
    "{{ list }}", "{{ types }}", "{{ empty }} {{ hollow }} {{ [] }} {{ {} }}", "{{ dict }}", "{{ dict.a }}", "{{ ('a', 1) }} {{ ('a',) }} {{ () }}",
    "{{ ['it\\'s', 'q\"', 'b\\\\'] }}", "{{ list | string }} {{ dict | string | length }}", "{{ types | join(', ') }} {{ list | join('|') }}",
    "{{ people | join(', ', attribute='name') }}", "{{ ', '.join(types) }}", "{{ list + [1] }} {{ types + types }}", "{{ 'ab' * 3 }} {{ [0] * 3 }}",
    "{{ dict.items() | list }}", "{{ dict.keys() | list }} {{ dict.values() | list }}", "{{ dict | items | list }}", "{{ dict | dictsort }}",
    "{{ 'é\\n\\u00e9\\x41' }}", "{{ 1_000 }} {{ 0x1f }} {{ 1e3 }}", "{{ text | e }}", "{{ text | safe }}", "{{ '%s' | format(types) }} {{ '{}'.format(1) }}",
    # tojson.
    "{{ dict | tojson }}", "{{ list | tojson }}", "{{ floats | tojson }}", "{{ dict | tojson(indent=2) }}", "{{ dict | tojson(indent=none) }}",
    "{{ list | tojson(indent=0) }}", "{{ dict | tojson(indent='\t') }}", "{{ dict | tojson(ensure_ascii=True) }}", "{{ dict | tojson(true) }}",
    "{{ dict | tojson(false, 1) }}", "{{ dict | tojson(separators=(',', ':')) }}", "{{ dict | tojson(separators=[', ', ' = ']) }}",
    "{{ dict | tojson(sort_keys=True) }}", "{{ dict | tojson(sort_keys=true, indent=1, separators=(',', ': ')) }}", "{{ dict | tojson(surprise=1) }}",
    "{{ [[], {}, [[]], {'a': {}}] | tojson(indent=4) }}", "{{ text | tojson }} {{ none | tojson }} {{ 1.0 | tojson }} {{ '</script>' | tojson }}",
    "{{ ('a', 1) | tojson }}", "{{ {1: 2} | tojson }}",
    # Tests.
    *("{{ %s is %s }}" % (value, test)
      for test in ("iterable", "sequence", "mapping", "string", "number", "integer", "float", "boolean", "none", "defined", "undefined", "true", "false")
      for value in ("none", "missing", "yes", "1", "1.5", "text", "list", "dict", "list[1:]", "dict.missing")),
    "{{ 2 is odd }} {{ 2 is even }} {{ 4 is divisibleby(2) }} {{ 1 is eq(1) }} {{ 1 is ne 2 }} {{ 1 is lt 2 }} {{ 'a' is in types }}",
    "{{ 'x' in 'xyz' }} {{ 'b' in dict }} {{ 'string' in types }} {{ 'q' not in dict }} {{ none in [none] }}", "{{ 'x' in none }}",
    "{{ 'A' is upper }} {{ 'a' is lower }} {{ 1 is sameas 1 }} {{ true is sameas true }}", "{{ missing == none }} {{ missing == missing }} {{ not missing }}",
    "{{ missing.more }}", "{{ none.more is defined }}", "{{ dict.missing.more }}", "{{ missing | default('d') }} {{ none | default('d') }} {{ '' | default('d', true) }}",
    "{{ missing | length }} {{ none | length }}", "{{ missing + 'x' }}", "{{ 'x' + none }}", "{{ 1 + 'x' }}", "{{ 1 == 1.0 }} {{ true == 1 }} {{ '1' == 1 }}",
    "{{ 1 < 2 < 3 }} {{ 'a' < 'b' }} {{ [1, 2] == [1, 2] }}", "{{ 'yes' if none }}|{{ 'yes' if no else 'no' }}", "{{ none or 'x' }} {{ [] and 'x' }} {{ 1 and 2 }}",
    # Strings.
    "{{ word.split('/') }} {{ word.split('/', 1) }} {{ word.rsplit('/', 1) }} {{ word.rsplit('/') }} {{ 'a  b '.split() }} {{ ' a  b c '.rsplit(none, 1) }}",
    "{{ word.partition('/') }} {{ word.rpartition('/') }} {{ word.partition('?') }} {{ word.rpartition('?') }} {{ word.partition('/')[2] }}",
    "{{ word.removeprefix('a/') }} {{ word.removesuffix('.d') }} {{ word.removeprefix('x') }} {{ word.removesuffix('') }}",
    "{{ word.index('/') }} {{ word.rindex('/') }} {{ word.find('/') }} {{ word.find('?') }} {{ word.rfind('/') }} {{ word.find('/', 2) }} {{ word.find('/', -3) }} {{ word.rfind('/', 0, 3) }}",
    "{{ 'é/é'.find('/') }} {{ 'ééx'.index('x') }} {{ 'é/é/é'.rfind('/') }} {{ ''.find('') }} {{ 'abc'.find('', 3) }} {{ 'abc'.find('', 4) }}", "{{ word.index('?') }}",
    "[{{ text.strip() }}][{{ text.lstrip() }}][{{ text.rstrip() }}][{{ 'xxaxx'.strip('x') }}][{{ 'xyax'.lstrip('xy') }}][{{ 'a\\n\\n'.rstrip('\\n') }}]",
    "{{ word.startswith('a') }} {{ word.startswith(('x', 'a')) }} {{ word.endswith('.d') }} {{ word.endswith(('x', 'd')) }}",
    "{{ word.upper() }} {{ 'A'.lower() }} {{ 'ab cd'.title() }} {{ 'ab CD'.capitalize() }} {{ word.replace('/', '-') }} {{ word.replace('/', '-', 1) }} {{ word.count('/') }}",
    "{{ 'a\\nb\\n'.splitlines() }} {{ '12'.isdigit() }} {{ 'ab'.isalpha() }} {{ 'a1'.isalnum() }}", "{{ '{} and {}'.format('a', 1) }} {{ '{0}{1}{0}'.format('a', 'b') }} {{ '{x}'.format(x=1) }} {{ '{:.2f}'.format(1.239) }}",
    "{{ '%s=%d' | format('a', 1) }} {{ '%.1f' | format(2.55) }} {{ '%05d' | format(42) }}", "{{ '%s' % 'a' }}",
    "{{ 'abc'[0] }} {{ 'abc'[-1] }} {{ 'ébc'[1:] }} {{ 'abcdef'[1:-1] }} {{ 'abc'[::-1] }} {{ 'abcdef'[::2] }} {{ 'abcdef'[4:1:-1] }} {{ 'abc'[5:] }}|",
    "{{ list[1:3] }} {{ list[::-1] }} {{ list[-2:] }} {{ list[:-5] }} {{ empty[::-1] }} {{ list[5:1:-2] }} {{ list[:0:-1] }}", "{{ messages[1:][::-1] | map(attribute='role') | list }}",
    # Filters.
    "{{ text | trim }} {{ 'xax' | trim('x') }} {{ 'a' | upper }} {{ 'A B' | lower }} {{ 'a b' | title }} {{ 'aB' | capitalize }} {{ 'aXa' | replace('a', 'b') }}",
    "{{ people | map(attribute='name') | list }} {{ people | map(attribute='tags.x', default=0) | list }} {{ types | map('upper') | join(' ') }} {{ types | map('length') | sum }}",
    "{{ people | selectattr('age', 'gt', 1) | map(attribute='name') | list }} {{ people | rejectattr('tags', 'defined') | list | length }} {{ people | selectattr('name', 'equalto', 'bob') | first }}",
    "{{ list | select('string') | list }} {{ list | reject('none') | list | length }} {{ [1, 2, 3, 4] | select('odd') | list }}",
    "{{ people | sort(attribute='age') | map(attribute='name') | list }} {{ ['b', 'A', 'c'] | sort }} {{ ['b', 'A'] | sort(case_sensitive=true) }} {{ [1, 3, 2] | sort(reverse=true) }}",
    "{{ [1, 2, 2] | unique | list }} {{ [1, 2] | first }} {{ [1, 2] | last }} {{ 'abc' | reverse }} {{ [1, 2] | reverse | list }} {{ [3, 1] | min }} {{ [3, 1] | max }}",
    "{{ '3' | int }} {{ 'x' | int }} {{ 'x' | int(7) }} {{ 2.9 | int }} {{ 'x' | float }} {{ '1.5' | float }} {{ 1.6 | round }} {{ 1.25 | round(1) }} {{ -1 | abs }} {{ 'abc' | list }} {{ dict | list }} {{ dict | length }}",
    "{{ 'a\\nb' | indent(2) }} {{ 'a\\n\\nb' | indent(2, true) }} {{ 'a\\n\\nb' | indent(2, first=true, blank=true) }}", "{{ 'a b c' | wordcount }}",
    "{{ dict.get('b') }} {{ dict.get('z') }} {{ dict.get('z', 'd') }} {{ dict['a']['é'][0] }} {{ dict.a.get('é')[2] }}", "{{ types.index('null') }} {{ types.count('null') }}",
    "{{ 'a' ~ 1 ~ 'b' }} {{ 1 ~ 2 }} {{ 'n: ' ~ none }}", "{{ 'x' ~ types }}", "{{ 'x' ~ dict.a }}", "{{ 'x' ~ 1e16 }}", "{{ ('<' | safe) + '<' }}", "{{ [1, 2, 3] | batch(2) | list }} {{ 'a,b' | replace(',', ';') }}", "{{ types | tojson | safe }}",
    # Statements.
    "{% for x in list %}{{ loop.index }}{{ loop.first }}{{ loop.last }}{{ loop.previtem if loop.previtem is defined }}{{ loop.nextitem is defined }} {% endfor %}",
    "{% for m in messages %}{{ loop.previtem.role }}>{{ m.role }}>{{ loop.nextitem.role }} {% endfor %}", "{% for x in [1, 2, 3] %}{% if x == 2 %}{% continue %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in [1, 2, 3] %}{% if x == 3 %}{% break %}{% endif %}{{ x }}{% endfor %}", "{% for k, v in dict.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k, v in dict | dictsort %}{{ k }} {% endfor %}",
    "{% for x in empty %}x{% else %}none{% endfor %}", "{% for x in none %}x{% endfor %}", "{% for x in missing %}x{% else %}none{% endfor %}", "{% for c in 'aé' %}{{ c }}.{% endfor %}", "{% for c in 'ab' %}{{ loop.last }}{{ loop.length }}{% endfor %}", "{% for k in dict %}{{ k }}{% endfor %}",
    "{% for m in messages if m.role != 'user' %}{{ loop.index0 }}{{ m.role }}{{ loop.length }} {% endfor %}", "{% for x in [1, 2] %}{{ loop.cycle('a', 'b') }}{{ loop.revindex }}{{ loop.changed(1) }}{% endfor %}",
    "{% for a in [[1, [2]], [3]] recursive %}{% if a is iterable %}({{ loop(a) }}){% else %}{{ a }}{% endif %}{% endfor %}", "{% for i in range(3) %}{{ i }}{% endfor %}{{ range(5, 1, -2) | list }}",
    "{% set ns = namespace(a=1, b=[]) %}{% for x in [1, 2] %}{% set ns.a = ns.a + x %}{% set ns.b = ns.b + [x] %}{% endfor %}{{ ns.a }} {{ ns.b }} {{ ns.c is defined }}",
    "{% set x = 1 %}{% for i in [1, 2] %}{% set x = i %}{% endfor %}{{ x }}{% if true %}{% set x = 5 %}{% endif %}{{ x }}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}",
    "{% set x %}a {{ 1 }}{% endset %}[{{ x }}]{% set y | upper %}b{% endset %}{{ y }}", "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}",
    "{% macro m(a, b='x', c=none) %}{{ a }}{{ b }}{{ c }};{% endmacro %}{{ m(1) }}{{ m(1, c=2) }}{{ m(b=1, a=0) }}{{ m() }}", "{% macro m() %}<{{ caller() }}>{% endmacro %}{% call m() %}in{% endcall %}",
    "{% macro m(x) %}<{{ caller(x) }}>{% endmacro %}{% call(y) m(3) %}{{ y + 1 }}{% endcall %}", "{% macro f(x) %}{% if x is mapping %}{% for k, v in x.items() %}{{ k }}:{{ f(v) }} {% endfor %}{% else %}{{ x }}{% endif %}{% endmacro %}{{ f(dict) }}",
    "{% macro m() %}  a {% endmacro %}[{{ m() | trim }}][{{ m()[2] }}][{{ m() | length }}]", "{% filter upper %}a{{ 'b' }}{% endfilter %}", "{% raw %}{{ x }}{% endraw %}{# note #}",
    "a\n  {% if yes %}\n    b\n  {% endif %}\n c\n", "a\n{%- if yes -%}\n  b  \n{%- endif %}\n\nc", "  {{- 'a' -}}  b {#- c -#} d\n", "a  {%+ if yes %} b{% endif +%}\nc", "a\n\n", "a\r\n{% if yes %}\r\nb\r\n{% endif %}\rc\r\n", "{{ 'a\r\nb' | length }}", "{{ 'a\n' }}\n",
    "{% generation %}a{{ 1 }}\n{% endgeneration %}\nb", "x {%- generation -%} a {%- endgeneration %} b", "{% generation %}{% set z = 1 %}{{ z }}{% endgeneration %}{{ z is defined }}",
    "{{ raise_exception('no: ' ~ 1) }}", "{% if missing.x %}{% endif %}", "{{ strftime_now('%Y') | length }} {{ strftime_now('%d %b %Y') | length }} {{ strftime_now('%Y-%m-%d') | length }} {{ strftime_now('%H:%M:%S') | length }}",
    "{% set x = dict(a=1, b=2) %}{{ x }} {{ x.a }}", "{{ messages | length }} {{ messages[0]['role'] }} {{ messages[-1].content }} {{ (messages | last).role }} {{ messages[0].tool_calls is defined }}",
    "{{ tools is none }} {{ tools is defined }} {{ not tools }} {{ documents is none }} {{ documents is defined }}", "{% if tools is iterable and tools | length > 0 %}tools{% else %}none{% endif %}", "{{ add_generation_prompt }}",
    "{% include 'x' %}", "{{ list.append(1) }}", "{{ people[0].items() | list | length }} {{ people[0]['name'] }} {{ people | length }}", "{{ namespace() is mapping }}", "{{ range(2) is iterable }} {{ (1, 2) is sequence }}",
    "{{ (people | map(attribute='name')) is iterable }}", "{{ dict.items() is iterable }}", "{{ undefined_function() }}", "{{ 'a' | no_such_filter }}", "{{ loop is defined }}", "{{ [1, 2][5] is defined }} {{ 'abc'[7] is defined }}", "{{ {'items': 1}.items == 1 }}",
    "{{ -1 }} {{ not 1 }} {{ 3 - -2 }} {{ (1 + 2) * 3 }}", "{{ +1 }}", "{{ 'a' 'b' }}", "{{ true }} {{ True }} {{ none }} {{ None }} {{ false }} {{ False }}",
]


def rendered(template):
    try:
        return {"text": render_jinja_template([MESSAGES], chat_template=template, add_generation_prompt=True, **CONTEXT)[0][0]}
    except Exception as error:
        return {"error": str(error)}


def main(output, check=None):
    # One probe a line, so that a change shows.
    probes = ",\n    ".join(json.dumps({"template": probe, **rendered(probe)}, ensure_ascii=False) for probe in PROBES)
    context, messages = (json.dumps(value, ensure_ascii=False) for value in (CONTEXT, MESSAGES))
    text = f'{{\n  "context": {context},\n  "messages": {messages},\n  "probes": [\n    {probes}\n  ]\n}}\n'
    if check and open(output).read() != text:
        sys.exit(f"{output} is not what jinja2 makes of the probes: run tests/oracle/probes.py {output}")
    if not check:
        open(output, "w").write(text)
    print(f"oracle: {len(PROBES)} probes of jinja2")


main(*sys.argv[1:])
