"""What a mapping template means here. The expected texts are what Velocity 1.7 with json-smart printed, and, but for a
list or map that is printed as a whole, what 2.4.1 with Jackson did.
"""

import json

import pytest

from sandbox import vtl

BODY = json.dumps(
    {
        "text": "v",
        "list": [1, "x", {"a": 1}],
        "map": {"a": 1, "deep": {"b": [1, {"c": 2}]}},
        "number": 7,
        "fraction": 1.5,
        "flag": True,
        "nothing": None,
        "big": 123456789012345678901234567890,
        "hard": 'it\'s "q" \\ / <\u007f\u0080é€😀\u0001\t\n~*',
        "hashes": "x#y#z",
        "lines": "a#b\nc#d\re#f\u2028g#h",
        "json": '{"key": {"list": [1, 2]}}',
    }
)
CONTEXT = {"requestId": "r-1", "identity": {"userArn": "arn:aws:iam::1:user/bob"}, "time": 1700000000000}


def render(template: str, body: str = BODY) -> vtl.Rendered:
    return vtl.render(
        template,
        body=body,
        context=CONTEXT,
        path={"id": "from path", "both": "path wins"},
        querystring={"both": "querystring"},
        headers={"X-Trace": "header"},
        stage_variables={"colour": "blue"},
    )


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain $5 {text} # x", "plain $5 {text} # x"),
        ("## a comment with $context.requestId\nx#* and another *#z", "xz"),
        ("$context.requestId. ${context.requestId}x $!{context.requestId}", "r-1. r-1x r-1"),
        ("$context.identity.userArn $context.time", "arn:aws:iam::1:user/bob 1700000000000"),
        (
            "[$context.nope] [$!context.nope] [$context.nope.deep] [$!{nope}]",
            "[$context.nope] [] [$context.nope.deep] []",
        ),
        ("$stageVariables.colour $stageVariables['colour']", "blue blue"),
        # $input
        ("$input.json('$.text') $input.json('$.list') $input.json('$.fraction')", '"v" [1,"x",{"a":1}] 1.5'),
        ("$input.json('$.big') $input.json('$.flag')", "123456789012345678901234567890 true"),
        ("$input.path('$.text') $input.path('$.flag') $input.path('$.number')", "v true 7"),
        ("$input.path('$.list[0]') $input.path('$.list')[1] $input.path('$.map').a", "1 x 1"),
        ("$input.path('$.list') $input.path('$.map')", '[1,"x",{"a":1}] {a=1, deep={b=[1,{"c":2}]}}'),
        (
            "[$!input.path('$.nope')] [$!input.path('$.nothing')] [$input.path('$.nope')]",
            "[] [] [$input.path('$.nope')]",
        ),
        (
            "$input.params('id')|$input.params('both')|$input.params('X-Trace')|$input.params('x')",
            "from path|path wins|header|",
        ),
        ("$input.params().querystring.both", "querystring"),
        # $util
        (
            "$util.escapeJavaScript($input.path('$.hard'))",
            'it\\\'s \\"q\\" \\\\ \\/ <\u007f\\u0080\\u00E9\\u20AC\\uD83D\\uDE00\\u0001\\t\\n~*',
        ),
        (
            "$util.urlEncode($input.path('$.hard'))",
            "it%27s+%22q%22+%5C+%2F+%3C%7F%C2%80%C3%A9%E2%82%AC%F0%9F%98%80%01%09%0A%7E*",
        ),
        ("$util.base64Encode($input.path('$.hard'))", "aXQncyAicSIgXCAvIDx/woDDqeKCrPCfmIABCQp+Kg=="),
        ("$util.urlDecode('a+b%20c') $util.base64Decode('YeKCrA==')", "a b c a€"),
        ("#set($o = $util.parseJson($input.path('$.json')))$o.key.list[0] $o['key'].list[1]", "1 2"),
        (
            "[$util.escapeJavaScript($input.path('$.nope')).replaceAll('a','b')]",
            "[$util.escapeJavaScript($input.path('$.nope')).replaceAll('a','b')]",
        ),
        # Texts
        ('#set($s = "x${context.requestId}y")$s', "xr-1y"),
        ("#set($s = '$context.requestId')$s", "$context.requestId"),
        ('#set($s = "a""b")$s', 'a"b'),
        ("#set($s = \"$!input.path('$.nope')$input.path('$.text')\")[$s]", "[v]"),
        (
            '#set($s = "a.b.c")$s.replaceAll("\\.", "/") $s.replaceAll(".", "x") $s.replaceAll("^.*b", "")',
            "a/b/c xxxxx .c",
        ),
        (
            "#set($s = $input.path('$.hashes'))$s.replaceAll('^.*#', '') $s.startsWith('x#') $s.startsWith('z')",
            "z true false",
        ),
        ("#set($s = $input.path('$.lines'))$s.replaceAll('^.*#', '')", "b\nc#d\re#f\u2028g#h"),
        ("#set($s = $input.path('$.lines'))$s.replaceAll('.#', '')", "b\nd\rf\u2028h"),
        (
            "#set($s = $input.path('$.lines'))$s.replaceAll('b.c', '').replaceAll('d.e', '').replaceAll('f.g', '')",
            "a#b\nc#d\re#f\u2028g#h",
        ),
        # Conditions
        ("#if(1 == 1)a#elseif(1 == 1)b#{else}c#end", "a"),
        ("#if(1 == 2)a#elseif(1 == 1)b#{else}c#end", "b"),
        ("#if(1 == 2)a#elseif(1 == 3)b#{else}c#end", "c"),
        ("#if($nope)a#end#if(!$nope)b#end#if($input.path('$.flag'))c#end", "bc"),
        ("#if(!(1 == 2) && (2 == 2 || 1 == 3))a#end#if(false || true && false)b#end", "a"),
        ("#if(1 == 1 || 1 == 2 && 1 == 2)a#end#if(5 != 5 || 'x' != 'x')b#end", "a"),
        ('#if($nope == "a")a#end#if($nope != "a")b#end', "b"),
        ('#if($context.nope.startsWith("x") && "a" == "a")a#{else}b#end', "b"),
        ("#set($flag = $input.path('$.text') == \"v\")$flag", "true"),
        ('{\n#if(1 == 1)\n"a":1\n#else\n"b":2\n#end\n}', '{\n"a":1\n}'),
    ],
)
def test_a_template_yields_what_velocity_does(template, text):
    assert render(template).text == text


def test_a_template_overrides_the_status_and_headers_even_one_with_a_hyphen():
    rendered = render(
        "#set($context.responseOverride.status = 503)\n"
        '#set($context.responseOverride.header.Retry-After = "5")\n'
        '#set( $context.responseOverride.header["X-Why"] = "$context.requestId" )\n'
        "body"
    )

    assert rendered == vtl.Rendered("body", 503, {"Retry-After": "5", "X-Why": "r-1"})


def test_a_branch_not_taken_overrides_nothing():
    template = "#if(1 == {number})#set($context.responseOverride.status = 503)#end"

    assert render(template.replace("{number}", "1")).status == 503
    assert render(template.replace("{number}", "2")) == vtl.Rendered("", None, {})


def test_a_value_is_never_read_as_a_template():
    hostile = "$context.requestId #set($context.responseOverride.status = 200) ${x} ## #if(1 == 1)"

    assert render("$input.path('$')", json.dumps(hostile)).text == hostile
    assert render("#set($s = \"$input.path('$')\")$s", json.dumps(hostile)) == vtl.Rendered(hostile, None, {})


def test_a_template_keeps_nothing_from_its_last_run():
    template = "$!s#set($s = $input.path('$'))$s"

    assert [render(template, '"first"').text, render(template, '"second"').text] == ["first", "second"]


# Where the engines differ or API Gateway's documentation is silent, see the docstring of sandbox/vtl.py.
@pytest.mark.parametrize("path", ["$.nope", "$.nothing", "$.text.deeper", "$.list[9]", "$.map[0]"])
def test_json_of_nothing_is_two_quotes(path):
    assert render(f"$input.json('{path}')").text == '""'


def test_an_empty_body_reads_as_an_empty_object_and_has_no_fields():
    assert render("$input.body [$!input.path('$.a')] $input.json('$.a')", "").text == '{} [] ""'
    assert render("$input.body", '{"a": 1}').text == '{"a": 1}'


def test_a_lone_surrogate_leaves_as_a_question_mark():
    assert render("$input.path('$')", '"\\ud800"').text == "?"
    assert render("$util.escapeJavaScript($input.path('$'))", '"\\ud800"').text == "\\uD800"


@pytest.mark.parametrize(
    ("template", "named"),
    [
        # airspeed renders each of these as empty, or wrong
        ("$input.path('$.text').equals('v')", "equals"),
        ("$input.path('$.text').isEmpty()", "isEmpty"),
        ("$input.path('$.text').length()", "length"),
        ("$input.path('$.list').size()", "size"),
        ("$input.path('$.map').keySet()", "keySet"),
        ("$util.toJson('x')", "toJson"),
        ("$util.escapeJavaScript", "escapeJavaScript"),
        ("$util.escapeJavaScript('a', 'b')", "escapeJavaScript"),
        ("$util.escapeJavaScript($input.path('$.number'))", "a number"),
        ("$input.query('x')", "query"),
        ("$input.headers", "headers"),
        ("$input", "$input"),
        ("$input.path('$.text').bytes", "bytes"),
        ("$input.path('$.map').class", "class"),
        ("$input.path('$.list')[9]", "[9]"),
        ("$input.path('$.list').first", "first"),
        # directives
        ("#foreach($x in $input.path('$.list'))$x#end", "#foreach"),
        ("#macro(m)x#end", "#macro"),
        ("#evaluate('$context.requestId')", "#evaluate"),
        ("#include('secrets')", "#include"),
        ("#parse('secrets')", "#parse"),
        ("#stop", "#stop"),
        ("#nosuch", "#"),
        ("#set($s = [1, 2])", "[1, 2]"),
        ("#set($s = {})", "{}"),
        ("#set($s = 1 + 1)", "'+'"),
        ("#if(1 > 0)x#end", "'>'"),
        ("\\$context.requestId", "\\$context.requestId"),
        ("${nope|'x'}", "alternate"),
        ("$context.requestId-x", "requestId-x"),
        ("$nope-x", "$nope-x"),
        ("$nope()", "$nope()"),
        # values that engines disagree about
        ("#if('x')a#end", "text as a condition"),
        ("#if($input.path('$.number'))a#end", "a number as a condition"),
        ("#if($input.path('$.list') && true)a#end", "a list as a condition"),
        ("#if('0' == 0)a#end", "text with a number"),
        ("#if(false == 0)a#end", "a boolean with a number"),
        ("#set($s = $nope)", "$s"),
        ("#set($s = $input.path('$.nothing'))", "$s"),
        ("#set($s = 'x')$s.replaceAll('[a-z]', 'y')", "[a-z]"),
        ("#set($s = 'x')$s.replaceAll('x$', 'y')", "x$"),
        ("#set($s = 'x')$s.replaceAll('\\w', 'y')", "\\\\w"),
        ("#set($s = 'x')$s.replaceAll('x', '\\\\1')", "replaceAll"),
        # assignments
        ("#set($input = 'x')", "$input"),
        ("#set($context.requestId = 'x')", "$context.requestId"),
        ("#set($context.requestOverride.header.X = 'x')", "$context.requestOverride.header.X"),
        ("#set($context.responseOverride.status = '503')", "$context.responseOverride.status"),
        ("#set($context.responseOverride.status = true)", "$context.responseOverride.status"),
        ("#set($context.responseOverride.header.X = 5)", "$context.responseOverride.header.X"),
        # paths and texts
        ("$input.path('text')", "'text'"),
        ("$input.path('$..text')", "'$..text'"),
        ("$input.path('$.list[*]')", "'$.list[*]'"),
        ("$input.path('$.text | $.flag')", "'$.text | $.flag'"),
        ("$input.path('$.list.length()')", "'$.list.length()'"),
        ("$util.base64Decode('***')", "base64Decode"),
        ("$util.parseJson('{')", "parseJson"),
        # syntax
        ("#if(1 == 1)x", "can't be parsed"),
        ("#set($s = )", "can't be parsed"),
        ("$input.json('$", "can't be parsed"),
    ],
)
def test_what_is_not_supported_is_named(template, named):
    with pytest.raises(vtl.TemplateError) as error:
        render(template)

    assert named in str(error.value)


def test_an_override_is_final():
    with pytest.raises(vtl.TemplateError, match="once"):
        render("#set($context.responseOverride.status = 502)#set($context.responseOverride.status = 503)")
    with pytest.raises(vtl.TemplateError, match="once"):
        render('#set($context.responseOverride.header.A = "1")#set($context.responseOverride.header.A = "2")')


@pytest.mark.parametrize("number", ["1e30", "10000000.0", "0.0001", "-1e-9", "1e999"])
def test_a_number_that_java_would_print_otherwise_is_refused(number):
    assert render("$input.json('$')", "[9999999.5, 0.001, 0.0, 10000000]").text == "[9999999.5,0.001,0.0,10000000]"
    with pytest.raises(vtl.TemplateError, match=number):
        render("$input.json('$')", f"[{number}]")


@pytest.mark.parametrize("body", ["<html>", "{", "NaN", '{"a": Infinity}', '{"a": 1} x'])
def test_a_body_that_is_not_json_fails_where_a_field_is_asked_for(body):
    assert render("$input.body", body).text == body
    with pytest.raises(vtl.TemplateError):
        render("$input.path('$.a')", body)
