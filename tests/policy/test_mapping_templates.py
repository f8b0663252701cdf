"""What a mapping template is read as, against what it would render."""

from __future__ import annotations

import pytest

import contracts
from policy.mapping_templates import OVERRIDE, Flaw, flaws, reads_body, without_comments

FIX = r""".replaceAll("\\'","'")"""
RAW = {Flaw.UNESCAPED}
APOSTROPHE = {Flaw.APOSTROPHE}
UNREAD = {Flaw.UNREAD}


def entry(detail: str, before: str = "") -> str:
    """A template with this detail."""
    return f'{before}{{"Entries": [{{"Source": "carrier", "DetailType": "shipped", "Detail": {detail}}}]}}'


def escaped(value: str, fix: str = FIX) -> str:
    return f"$util.escapeJavaScript({value}){fix}"


BODY = "$input.json('$')"
NAME = "$input.path('$.name')"
SOURCE = "$input.path('$.source')"


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
        ('"$context.identity.clientCert.subjectDN"', RAW),
        ('"$context.authorizer.claims.name"', RAW),
        ('"$context.path"', RAW),
        ("\"$util.escapeJavaScript('plain')\"", set()),
        ('"## \\"$input.body\\"\n"', set()),
        ('"#* $input.body *#"', set()),
        ('"costs $ 5 and # 6 and $5"', set()),
        ('"$input.path(1', RAW | UNREAD),
    ],
    ids=range(52),
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
        ("#set(nonsense)", '"$nonsense"', UNREAD),
    ],
    ids=range(20),
)
def test_what_is_set_before(before: str, detail: str, expected: set[Flaw]):
    assert flaws(entry(detail, before)) == expected


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (f"""#set($d = '{{"carrier": "acme", "name": "' + {NAME} + '"}}')""", RAW),
        (f"""#set($n = {NAME})#set($d = '{{"name": "' + $n + '"}}')""", RAW),
        (f"""#set($n = {NAME})#set($d = "{{""name"": ""$n""}}")""", RAW),
        (f"""#set($n = {NAME})#set($d = "{{''name'': ''$n''}}")""", RAW),
        (f"""#set($n = {NAME})#set($d = '{{"name": "' + ($n) + '"}}')""", RAW),
        (f"""#set($n = {NAME})#set($d = '{{"count": ' + $n + '}}')""", RAW),
        (f"""#set($n = {NAME})#set($d = '[' + $n + ']')""", RAW),
        (f"""#set($n = {NAME})#set($d = 'said "' + $n + '"')""", RAW),
        (f"""#set($n = {NAME})#set($d = "said ""$n"" twice")""", RAW),
        (f"""#set($n = {NAME})#set($d = '{{"name": "' + $!{{n}} + '"}}')""", RAW),
        (f"""#set($d = '{{"name": "' + {escaped(NAME)} + '"}}')""", set()),
        (f"""#set($d = '{{"a": "' + {escaped(NAME)} + '", "b": "' + {NAME} + '"}}')""", RAW),
        (f"""#set($d = '{{"a": "' + {NAME} + '", "b": "' + {escaped(NAME)} + '"}}')""", RAW),
        (f"""#set($d = '{{"name": "' + {escaped(NAME, "")} + '"}}')""", APOSTROPHE),
        (f"""#set($d = '{{"name": ' + {BODY} + '}}')""", set()),
        (f"""#set($d = '{{"name": "' + {BODY} + '"}}')""", RAW),
        ("""#set($d = '{"name": "' + $util.urlEncode($input.body) + '"}')""", set()),
        ("""#set($d = '{"name": "' + $context.requestId + '"}')""", set()),
        (f"#set($d = 'Dear ' + {NAME} + ', hello')", set()),
        (f"#set($d = 'It''s ' + {NAME})", set()),
        (f"""#set($d = "" + {NAME} + "")""", set()),
        (f"""#set($d = '' + {NAME})""", set()),
        (f"#set($d = {{'q': '\"', 'name': {NAME}}})", set()),
        (f"""#if({NAME} == '"')#set($d = 'a "quote"')#end""", set()),
        (f"""#set($a = '{{"name": "')#set($d = $a + {NAME} + '"}}')""", UNREAD),
        (f"""#set($a = '{{"name": "')#set($b = $a)#set($d = $b + {NAME})""", UNREAD),
        (f"""#set($a.b = '{{"name": "')#set($d = $a.b + {NAME})""", UNREAD),
        (f"""#set($a = {{}})$a.put('b', '{{"name": "')#set($d = $a.b + {NAME})""", UNREAD),
        (f"""#set($a = '{{"name": "')#set($d = $a.concat({NAME}))""", UNREAD),
        (f"""#set($a = '{{"name": "?"')#set($d = $a.replace('?', {NAME}))""", UNREAD),
        (f"""#set($a = 'name: ?')#set($d = $a.replace('?', {NAME}))""", set()),
        (f"""#set($n = {NAME})#set($d = $n.concat('"'))""", UNREAD),
        (f"""#set($n = {NAME})#set($d = $n.replaceAll('x', '"'))""", UNREAD),
        (f"""#set($n = {NAME})#set($d = $n.replaceAll('"', ''))""", set()),
        (f"""#set($n = {NAME})#set($d = $n.split('"'))""", set()),
        ("""#set($a = '{"name": "')#set($d = $a.concat($util.urlEncode($input.body)))""", set()),
        (f"""#set($a = '{{"name": "')#set($d = $a.indexOf({NAME}))""", set()),
        (f"""#set($a = 'name: ')#set($d = $a + {NAME})""", set()),
        ("""#set($a = '{"name": "')#set($d = $a + $util.urlEncode($input.body) + '"}')""", set()),
        (f"""#set($d = '')#foreach($x in [1])#set($d = $d + {NAME})#set($d = $d + '"')#end""", RAW | UNREAD),
        (f"""#set($d = '{{')#set($d = $d + {escaped(NAME)})""", UNREAD),
        ("""#set($d = "#foreach($x in $input.path('$'))$x.name#end")""", UNREAD),
    ],
    ids=range(42),
)
def test_no_later_escape_makes_up_for_one_that_was_due_when_a_text_was_put_together(before: str, expected: set[Flaw]):
    """The text as a whole is escaped for the string that it ends up in, and only for that."""
    assert flaws(entry(f'"{escaped("$d")}"', before)) == expected


def test_an_escape_for_a_string_within_a_text_is_none_for_the_string_around_it():
    before = f"""#set($d = '{{"name": "' + {escaped(NAME)} + '"}}')"""
    assert flaws(entry('"$d"', before)) == RAW
    assert flaws(entry(f'"{escaped("$d")}"', before)) == set()


def test_what_is_in_braces_ends_with_them():
    template = f'{{"Entries": [{{"Detail": ${{n}}, "Source": "a", "Resources": ["${{none}}", "{SOURCE}"]}}]}}'
    assert flaws(template) == {"Resources"}
    assert flaws(entry("$n", "#set($n = ${input.json('$')})")) == set()
    assert flaws(entry("$n", "#set($n = ${input.path('$')})")) == RAW


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
        ('{"$input.path(1)": 1}', {"Entries"}),
        ("$input.json('$')", {"Entries"}),
        ("{\"Entries\": $input.json('$.entries')}", {"Entries"}),
        ("{\"Entries\": [$input.json('$.one'), $input.json('$.other')]}", {"Entries"}),
        ('{"Entries": [{"Source": "a"}], "Detail": $input.json(1)}', set[str]()),
        ('{"Resources": ["arn", "$util.urlEncode($input.body)"], "Source": "a"}', {"Resources"}),
        ('{"Resources": [{"a": 1, "b": 2}, "$util.urlEncode($input.body)"]}', {"Resources"}),
        ('{"Resources": ["arn"], "Detail": "$util.urlEncode($input.body)"}', set[str]()),
        ('{"Detail": {"a": 1}, "x": $input.json(1)}]}}', set[str]()),
        ('}{"Source": $input.json(1)}', {"Source"}),
        ('{"So${none}urce": "$util.urlEncode($input.body)"}', UNREAD),
        (r'{"Sour\u0063e": "$util.urlEncode($input.body)"}', UNREAD),
    ],
    ids=range(19),
)
def test_what_routes_is_not_the_callers(template: str, expected: set[object]):
    assert flaws(template) == expected


@pytest.mark.parametrize(
    ("before", "source"),
    [
        (f"#set($e = {SOURCE})", "$e.put('s', 'a')"),
        (f"#set($e = {{}})$e.put('s', {SOURCE})", "$e.s"),
        (f"#set($e = {{}})#set($done = $e.put('s', {SOURCE}))", "$e.get('s')"),
        (f"#set($e = {{}})#set($e.s = {SOURCE})", "$e.s"),
        (f"#set($e = {{}})#set( $!{{e.s}} = {SOURCE} )", "${e.s}"),
        (f'#set($e = {{}})#set($e["s"] = {SOURCE})', '$e["s"]'),
        ("#set($e = {})#set($e[$input.body] = 1)", "$e"),
        (f"#set($l = [])#if($l.add({SOURCE}))#end", "$l[0]"),
        (f"#set($l = [])#foreach($x in [1])$l.add({SOURCE})#end", "$l.get(0)"),
        (f"#set($l = [{SOURCE}])", "$l[0]"),
        (f"#set($e = {{'s': {SOURCE}}})", "$e.s"),
        (f"#set($e = {{}})#set($same = $e)$same.put('s', {SOURCE})", "$e.s"),
        (f"#set($e = {{}})#set($o = {{}})$o.put('e', $e)$e.put('s', {SOURCE})", "$o.e.s"),
        (f"#set($e = {{}})#set($o = [$e])#set($o[0].s = {SOURCE})", "$e.s"),
        (f"#set($o = {{}})#set($e = {{}})#set($o.e = $e)#set($e.s = {SOURCE})", "$o.e.s"),
        (f"#set($my-e = {SOURCE})", "$my-e"),
        (f"#set($my = {SOURCE})", "$my-e"),
        (f"#set($e = {{}})#set($e-s.x = {SOURCE})", "$e"),
        ("#set($all = {'a': 'b'})", "$all[$input.body]"),
        ("#set($all = {'a': 'b'})", "$all.get($input.body)"),
        ("", "$context['path']"),
        ("", '$context["identity"].get("userAgent")'),
        ("", "$context.identity"),
        ("", "$context.authorizer.get('claims')"),
        ("", "$context.identity.clientCert.subjectDN"),
        ("", "$context.identity['clientCert'].issuerDN"),
        ("", "$context.path-"),
        ("", "$context.requestId.concat($input.body)"),
        ("", "$input['body']"),
        ("", "$input.path('$').size"),
        ("", "$input.path('$').trim"),
        ("", "$input-s"),
        ("#set($i = $input)", "$i.body"),
        ("#set($u = $util)", "$u.urlEncode($input.body)"),
        (f"#set($s = 'a')#if($x)#set($s = {SOURCE})#end", "$s"),
        (f"#set($s = {SOURCE})#if($x)#set($s = 'a')#end", "$s"),
        (f"#set($s = 'a')#if($x)#set($s = {SOURCE})#elseif($y)#set($s = 'b')#else#set($s = 'c')#end", "$s"),
        (f"#set($s = {SOURCE})#if($x)#set($s = 'a')#elseif($y)#set($s = 'b')#end", "$s"),
        (f"#set($s = {SOURCE})#foreach($x in [1])#set($s = 'a')#end", "$s"),
        (f"#foreach($x in [1])#set($s = {SOURCE})#if($y)#break#end#set($s = 'a')#end", "$s"),
        (f"#if($x.add($s))#else#set($s = {SOURCE})#end#if($y)#set($s = 'a')#end", "$s"),
        (f'#set($x = "##")#set($s = {SOURCE})', "$s"),
        (f"#set\n($s = {SOURCE})", "$s"),
        (f"#if($x)(#else ({SOURCE}))#end#set($s = $util.urlEncode({SOURCE}))", "$s"),
    ],
    ids=range(44),
)
def test_what_the_caller_chooses_is_followed_through_objects_branches_and_loops(before: str, source: str):
    """Each of these is the caller's source; beside it nothing is."""
    template = f'{before}{{"Entries": [{{"Source": "%s", "DetailType": "shipped", "Detail": "{{}}"}}]}}'
    said = flaws(template % source)
    assert "Source" in said
    assert "Source" not in flaws(template % "carrier")


@pytest.mark.parametrize(
    ("before", "source"),
    [
        (f"#set($s = {SOURCE})#if($x)#set($s = 'a')#else#set($s = 'b')#end", "$s"),
        (f"#if($x)#set($s = {SOURCE})#set($s = 'a')#end", "$s"),
        (f"#foreach($s in [{SOURCE}])#set($s = 'a')#end", "$other"),
        ("#set($all = {'a': 'b'})#if($all.containsKey($input.body))#end", "$all.a"),
        ("#set($all = {'a': 'b'})#set($found = $all.get($input.body))", "$all.a"),
        ("#set($all = {})$all.put('a', 'b')#set($all.c = 'd')", "$all.a"),
        ("#set($one = {})#set($other = {})$one.put('s', $input.body)", "$other.s"),
        ("#set($one = {})#set($other = $one)", "$other.s"),
        ("#end#else#break", "$context.identity.sourceIp"),
        ("#set($context.responseOverride.status = 200)", "$context.stage"),
        ("", "$context['stage'] $context.requestId.substring(1)"),
        ("\\# # 1 #fff", "carrier-$context.stage"),
        ("#set($s = 'a')#foreach($x in [1])#foreach($y in [2])#set($s = 'b')#end#end", "$s"),
        ("#set($l = [])$l.add($input.body)", "carrier"),
    ],
    ids=range(14),
)
def test_what_the_caller_does_not_choose_is_left_alone(before: str, source: str):
    assert flaws(f'{before}{{"Entries": [{{"Source": "{source}", "Detail": "{{}}"}}]}}') == set()


def test_what_is_set_ends_with_its_bracket():
    detail = "$util.urlEncode($input.body)"
    template = f'#set($s = "a"){{"Entries": [{{"Source": "$s", "Detail": "{detail}"}}]}}'
    assert flaws(template) == set()
    assert flaws(template.replace('"a")', f"{detail})")) == {"Source"}


def test_a_loop_begins_with_what_its_last_round_left_behind():
    template = '#set($s = "a")#foreach($x in [1, 2]){"Source": "$s"}#set($s = $input.body)#end'
    assert flaws(template) == {"Source"}
    assert flaws(template.replace("$input.body", "$x")) == set()
    inner = '#foreach($x in [1])#foreach($y in [1]){"Source": "$s"}#end#set($s = $input.body)#end'
    assert flaws(inner) == {"Source"}


@pytest.mark.parametrize(
    ("before", "after", "escapes"),
    [
        (escaped(NAME), NAME, RAW),
        (NAME, escaped(NAME), RAW),
        (escaped(NAME, ""), escaped(NAME), APOSTROPHE),
        (escaped(NAME), escaped(escaped(NAME, "")), APOSTROPHE),
        ("$util.urlEncode($input.body)", escaped(NAME), set()),
        ("$util.urlEncode($input.body)", BODY, RAW),
    ],
    ids=range(6),
)
def test_of_two_branches_the_worse_counts(before: str, after: str, escapes: set[Flaw]):
    assert flaws(entry('"$n"', f"#set($n = {before})#if($x)#set($n = {after})#end")) == escapes


def test_json_of_one_branch_alone_is_no_json():
    assert flaws(entry("$n", f"#set($n = {BODY})#if($x)#set($n = {NAME})#end")) == RAW
    assert flaws(entry("$n", f"#set($n = {BODY})#if($x)#set($n = {BODY})#end")) == set()


@pytest.mark.parametrize(
    "before",
    [
        f"#define($s){SOURCE}#end",
        "#macro(s $x)$x#end",
        "#{evaluate}('$input.body')",
        "#include ('a')",
        "#parse('a')",
        "#named($input)",
        "#@named()",
        "#[[ $input.body ]]#",
        "\\#set($s = 'a')",
        "#set($s 'a')",
        "#set('a')",
        "#set($util = 1)",
        "#set($input = 1)",
        "#set($o = $context.requestOverride)",
        "#set($o = $context)",
        "#set($o = $context.get($name))",
        "$input.path('$'",
        "#set($s = $l[0",
        "#set($s = 'a'",
        "#if($x",
        "#if($x])",
        "$a.b(" * 3_000,
    ],
    ids=range(22),
)
def test_what_is_not_understood_is_said(before: str):
    assert flaws(f"{before} {entry('1')}") >= UNREAD
    assert flaws(entry("1")) == set()


@pytest.mark.parametrize(
    "template",
    [
        "#set($context.requestOverride.header.X-Amz-Target = $input.params('action'))",
        "#set($context.requestOverride.header['X-Amz-Target'] = $input.params('action'))",
        "#set($done = $context.requestOverride.header.put('X-Amz-Target', $input.params('action')))",
    ],
    ids=range(3),
)
def test_what_is_called_is_not_the_callers(template: str):
    assert flaws(template) >= {OVERRIDE}
    assert OVERRIDE not in flaws(template.replace("$input.params('action')", "'AWSEvents.PutEvents'"))


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
    anything = {Flaw.UNESCAPED, Flaw.UNREAD, "Entries"}
    assert flaws(text) <= anything
    assert flaws(f'{{"Detail": "{text}') <= anything
