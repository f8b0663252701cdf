"""What a mapping template is read as, against what it would render."""

from __future__ import annotations

import pytest

import contracts
from policy.mapping_templates import Flaw, flaws, reads_body, without_comments

FIX = r""".replaceAll("\\'","'")"""
RAW = {Flaw.UNESCAPED}
APOSTROPHE = {Flaw.APOSTROPHE}


def entry(detail: str, before: str = "") -> str:
    """A template with this detail."""
    return f'{before}{{"Entries": [{{"Source": "carrier", "DetailType": "shipped", "Detail": {detail}}}]}}'


def escaped(value: str, fix: str = FIX) -> str:
    return f"$util.escapeJavaScript({value}){fix}"


BODY = "$input.json('$')"
NAME = "$input.path('$.name')"


@pytest.mark.parametrize(
    ("detail", "expected"),
    [
        ('"nothing of the request"', set()),
        (f'"{escaped(BODY)}"', set()),
        (f'"{escaped(BODY, "")}"', APOSTROPHE),
        (f'"{BODY}"', RAW),
        (f"{BODY}", set()),
        (f"{NAME}", RAW),
        (f'"{NAME}"', RAW),
        (f'"{escaped(NAME)}"', set()),
        ('"$input.body"', RAW),
        ('"$input"', RAW),
        ('"$!{input.body}"', RAW),
        ('"$util.base64Encode($input.body)"', set()),
        ("\"$util.urlEncode($input.params('id'))\"", set()),
        ('"$util.base64Encode($input.body).substring(1)"', set()),
        ('"$util.base64Decode($input.body)"', RAW),
        ('"$util.parseJson($input.body).name"', RAW),
        (rf'"{{\"name\": {escaped("$input.json(1)")}}}"', set()),
        (rf'"{{\"name\": {escaped(NAME)}}}"', RAW),
        (rf'"  [{escaped(NAME)}]"', RAW),
        (rf'"{{\"name\": \"{escaped(NAME)}\"}}"', RAW),
        (rf'"{{\"name\": \"{escaped(escaped(NAME))}\"}}"', set()),
        (rf'"{{\"name\": \"{escaped(escaped(NAME, ""))}\"}}"', APOSTROPHE),
        (rf'"{{\"name\": \"{escaped(escaped(NAME), "")}\"}}"', APOSTROPHE),
        (rf'"{{\"name\": \"x\", \"more\": {escaped(BODY)}}}"', set()),
        (rf'"{{\"quote\": \"\\\"{escaped(escaped(NAME))}\\\"\"}}"', set()),
        (rf'"{{\"quote\": \"\\n\"}} {escaped(NAME)}"', RAW),
        (rf'"\\{escaped(NAME)}"', set()),
        (rf'"a \" b {NAME}"', RAW),
        (f'"{escaped(NAME)}{escaped(NAME)}"', set()),
        (f'"{escaped(NAME)} and {NAME}"', RAW),
        (f'"{escaped(NAME)}.trim()"', set()),
        (f'"$util.escapeJavaScript({NAME}).trim(){FIX}"', set()),
        (f'"{escaped(NAME)}.substring(1)"', RAW),
        (f'"$util.escapeJavaScript({NAME}).substring(1)"', RAW),
        (rf'''"$util.escapeJavaScript({NAME}).replace("\'","'")"''', set()),
        (rf'''"$util.escapeJavaScript({NAME}).replaceAll("\'","'")"''', RAW),
        (f'''"$util.escapeJavaScript({NAME}).replaceAll('"', '')"''', RAW),
        (f'"$name.replaceAll("x", {NAME})"', RAW),
        ('"$input.path(1).size()"', set()),
        ('"$input.path(1)[0]"', RAW),
        ('"$util.escapeJavaScript($input.path(1)[0])"', APOSTROPHE),
        ('"$context.requestId $stageVariables.bus $util"', set()),
        ('"$context.identity.sourceIp"', set()),
        ('"$context.identity.userAgent"', RAW),
        ('"$context.authorizer.claims.name"', RAW),
        ('"$context.path"', RAW),
        ("\"$util.escapeJavaScript('plain')\"", set()),
        ('"## \\"$input.body\\"\n"', set()),
        ('"#* $input.body *#"', set()),
        ('"costs $ 5 and # 6 and $5"', set()),
        ('"$input.path(1', RAW),
    ],
    ids=range(51),
)
def test_a_detail(detail: str, expected: set[Flaw]):
    assert flaws(entry(detail)) == expected


@pytest.mark.parametrize(
    ("before", "detail", "expected"),
    [
        ('#set($root = $input.path("$"))', '"$root.name"', RAW),
        ('#set($root = $input.path("$"))', '"$root"', RAW),
        ('#set($root = $input.path("$"))', f'"{escaped("$root.name")}"', set()),
        (f"#set($name = {escaped(NAME)})", '"$name"', set()),
        (f"#set($name = {escaped(NAME)})", '"$name.substring(1)"', RAW),
        (f'#set($name = "{escaped(NAME)}")', '"$!{name}"', set()),
        (f'#set( $name = "Dear {escaped(NAME)}, {NAME}" )', '"$name"', RAW),
        (f"#set($name = {BODY})", "$name", set()),
        (f'#set($name = "{BODY}")', "$name", RAW),
        (f'#set($name = "a {BODY}")', "$name", RAW),
        ("#set($name = '$input.body')", '"$name"', set()),
        ("#set($name = $input.body)#set($name = 1)", '"$name"', set()),
        ("#set($name = 'a' + $input.body + 'b')", '"$name"', RAW),
        ("#set($name = $input.body + 'b')", '"$name"', RAW),
        ("#set($size = $input.path('$.items').size())", "$size", set()),
        ("#foreach($item in $input.path('$.items'))", '"$item.sku"#end', RAW),
        ("#foreach($item in [1, 2])", '"$item"#end', set()),
        (f"#if({NAME} == 'x')", '"x"#else"y"#end', set()),
        (f"#{{if}}({NAME} == 'x')#elseif({NAME} == 'y')", '"x"#{else}"y"#{end}', set()),
        ("#set(nonsense)", '"$nonsense"', set()),
    ],
    ids=range(20),
)
def test_what_is_set_before(before: str, detail: str, expected: set[Flaw]):
    assert flaws(entry(detail, before)) == expected


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ('{"Source": "$input.params(\'s\')"}', {"Source"}),
        ("{\"DetailType\": $input.json('$.t')}", {"DetailType"}),
        ('{"Detail": "x", "EventBusName": "a-$util.urlEncode($input.body)"}', {"EventBusName"}),
        ('{"Source": "carrier", "Time": $input.path(\'$.t\')}', RAW),
        ('{"Source": {"Time": $input.path(\'$.t\')}}', RAW),
        ('{"Source": "$stageVariables.source", "EventBusName": "$context.stage"}', set[str]()),
        ('{"Detail": "\\"Source\\": $util.base64Encode($input.body)"}', set[str]()),
        ('{"$input.path(1)": 1}', RAW),
    ],
    ids=range(8),
)
def test_what_routes_is_not_the_callers(template: str, expected: set[object]):
    assert flaws(template) == expected


def test_our_own_template_is_sound_and_is_not_without_an_escape():
    own = contracts.confirm_request_template("orders")
    assert flaws(own) == set()
    assert own.count(FIX) == 4
    pieces = own.split(FIX)
    for at in (1, 2):  # around fields of the body; in a role session's name AWS allows no apostrophe
        without = FIX.join([*pieces[:at], pieces[at] + pieces[at + 1], *pieces[at + 2 :]])
        assert flaws(without) == APOSTROPHE, at


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("$input.body", True),
        ("$!{input.json('$')}", True),
        ("$input.path('$.id')", True),
        ("$input", True),
        ("$input.params('id')", False),
        ("$input.params('id') $input.params().header", False),
        ("## $input.body\n{}", False),
        ("$inputs.body", False),
        ("", False),
    ],
    ids=range(9),
)
def test_whether_it_reads_the_body(template: str, *, expected: bool):
    assert reads_body(template) is expected


def test_comments_are_dropped_and_nothing_else():
    assert without_comments("a ## b\nc #* d\n *# e # f") == "a \nc  e # f"


@pytest.mark.parametrize(
    "text", ["$", "#", "${", "$input.", "$input.path(", "#set(", "#set($a", '"\\', "$a[", "\\", "}"]
)
def test_what_is_no_template_is_read_without_an_error(text: str):
    assert flaws(text) <= {Flaw.UNESCAPED}
    assert flaws(f'{{"Detail": "{text}') <= {Flaw.UNESCAPED}
