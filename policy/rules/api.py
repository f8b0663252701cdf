"""Rules for REST APIs: who may call them, what reaches the bus, what a caller is told, and what is left to see of it.

An OpenAPI body is judged like methods and integrations that are resources of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from itertools import chain
from typing import TYPE_CHECKING, Any

from pulumi_policy import Severity

from policy.documents import UNREADABLE, Statement, document, items, json_document, statements
from policy.mapping_templates import Flaw, flaws, without_comments
from policy.props import MISSING, UNKNOWN, Path, spell, whole
from policy.rest_api import Integration, Node, Operation, Response, body, operations, resource, status
from policy.rule import Control, Examined, Group, Rule, StackRule, Texts, Whole

if TYPE_CHECKING:
    from policy.subject import Member, Stack, Subject

API = "aws:apigateway/restApi:RestApi"
NATIVE_API = "aws-native:apigateway:RestApi"
IMPORT = "aws:apigateway/restApiPut:RestApiPut"
METHOD = "aws:apigateway/method:Method"
NATIVE_METHOD = "aws-native:apigateway:Method"
INTEGRATION = "aws:apigateway/integration:Integration"
RESPONSE = "aws:apigateway/integrationResponse:IntegrationResponse"
API_POLICY = "aws:apigateway/restApiPolicy:RestApiPolicy"

BODIES = frozenset({API, NATIVE_API, IMPORT})
AUTHORIZATION = {METHOD: "authorization", NATIVE_METHOD: "authorizationType"}
VALIDATORS = frozenset({"aws:apigateway/requestValidator:RequestValidator", "aws-native:apigateway:RequestValidator"})
MODELS = frozenset({"aws:apigateway/model:Model", "aws-native:apigateway:Model"})


def authorised(api: Subject) -> Iterator[str]:
    """Every method asks its caller for what authorises; an API key only identifies.

    Whom its policy names is enough of a private API, which nobody else reaches.
    """
    if api.type in AUTHORIZATION:
        yield from _method_authorised(api)
        return
    described = body(api)
    if described.value is UNREADABLE:
        api.decided("body")
        yield "write body as an OpenAPI document in JSON or YAML: what nobody can read, nobody can check"
    for name in _ELSEWHERE if api.type == NATIVE_API else ():
        if api.get(name) is not MISSING:
            api.decided(name)
            yield f"give the document as body instead of {name}: what lies elsewhere, nobody can check here"
    closed = _private_and_closed(api)
    for operation in _known(api, operations(described)):
        if closed is True:
            api.decided((*operation.node.path, "security"))
            continue
        found, direct = operation.authorizations, operation.integration.direct
        if closed is UNKNOWN:
            found = found | {UNKNOWN}
        if _settled(api, (*operation.node.path, "security"), operation.verb, found, direct=direct):
            yield (
                f"set {operation.node}.security to a scheme of {_allowed(api)}: without it, or with one at the root of "
                "the document, everybody may call"
            )


def _private_and_closed(api: Subject) -> bool | Any:
    """Whether only those reach the API whom a policy names; maybe UNKNOWN. With none, nobody reaches a private one."""
    kinds = items(api.get("endpointConfiguration.types"))
    if kinds != ["PRIVATE"]:
        return UNKNOWN if UNKNOWN in kinds else False
    policies = [policy for _, policy in _policies(api) if policy is not MISSING]
    if any(policy is UNREADABLE or (policy is not UNKNOWN and _opened(policy)) for policy in policies):
        return False
    return UNKNOWN if UNKNOWN in policies else True


# Where aws-native has the methods of an API from, if not from its body.
_ELSEWHERE = ("bodyS3Location", "cloneFrom")


def _method_authorised(method: Subject) -> Iterator[str]:
    name = AUTHORIZATION[method.type]
    node = resource(method)
    inside = Operation(node=node, verb="", document=node).integration
    if _method_open(method, direct=inside.direct):
        yield f"set {name} to {_allowed(method)}"
    elif node.at(name).word in {"CUSTOM", "COGNITO_USER_POOLS"} and not method.given("authorizerId"):
        yield f"set authorizerId: without it {name} names nobody who authorises"


def _method_open(method: Subject, *, direct: bool | Any) -> bool:
    name = AUTHORIZATION[method.type]
    node = resource(method)
    authorization, key = node.at(name), node.at("apiKeyRequired")
    found: set[Any] = {UNKNOWN if authorization.unknown else authorization.word}
    if key.value is True:
        found.add("API_KEY")
    elif key.unknown and "API_KEY" in method.settings["authorizations"]:
        found.add(UNKNOWN)
    verb = node.at("httpMethod")
    return _settled(method, name, verb.word, found | ({UNKNOWN} if verb.unknown else set()), direct=direct)


def _settled(api: Subject, where: str | Path, verb: str, found: set[Any], *, direct: bool | Any) -> bool:
    """Whether nothing that was found authorises, counted as decided or deferred.

    An exempt method is one that no caller gets to a service by: `direct` is whether this one does, maybe UNKNOWN.
    """
    exempt = verb in api.settings["exemptMethods"]
    if exempt and direct is UNKNOWN:
        found = found | {UNKNOWN}
    if (exempt and direct is False) or found & set(api.settings["authorizations"]):
        api.decided(where)
        return False
    if UNKNOWN in found:
        api.deferred(where)
        return False
    api.decided(where)
    return True


def _allowed(api: Subject) -> str:
    return " or ".join(api.settings["authorizations"])


def _known(api: Subject, found: Iterable[Operation]) -> Iterator[Operation]:
    """The methods that can be read now; counts the others as deferred."""
    for operation in found:
        if operation.node.unknown:
            api.deferred(operation.node.path)
        else:
            yield operation


def _operations(api: Subject) -> Iterator[Operation]:
    """The methods of an API with their integrations, or the one that the resource is."""
    if api.type in BODIES:
        return _known(api, operations(body(api)))
    node = resource(api)
    return iter([Operation(node=node, verb=node.at("httpMethod").word, document=node)])


def _takes_body(integration: Integration, verb: str) -> bool | Any:
    """Whether something of the body gets to an AWS service with nothing in between; maybe UNKNOWN."""
    direct, reads = integration.direct, integration.reads_body(verb)
    if direct is False or reads is False:
        return False
    return UNKNOWN if direct is UNKNOWN or reads is UNKNOWN else True


def request_validated(api: Subject) -> Iterator[str]:
    """What goes straight to a service has its body checked against a model; a validator checks something.

    A function behind a proxy integration gets the request as it came, and may check it itself: nothing is asked there.
    """
    if api.type in VALIDATORS:
        checks = [api.judge("validateRequestBody"), api.judge("validateRequestParameters")]
        if True not in checks and UNKNOWN not in checks:
            yield "set validateRequestBody or validateRequestParameters to true: the validator checks nothing"
        return
    for operation in _operations(api):
        takes = _takes_body(operation.integration, operation.verb)
        if takes is False:
            continue
        if api.type == NATIVE_METHOD:
            validator, found = "requestValidatorId", list(_unguarded(operation.node, operation.integration))
        else:
            validator, found = _VALIDATOR, list(_undescribed(operation))
        if found and takes is UNKNOWN:
            api.deferred((*operation.node.path, validator))
        else:
            api.decided((*operation.node.path, validator))
            yield from found


_VALIDATOR = "x-amazon-apigateway-request-validator"


def _undescribed(operation: Operation) -> Iterator[str]:
    """What a method of a document lacks for its body to be validated."""
    validator = operation.validator
    if validator.missing:
        yield f"name a validator of the body in {operation.node}.{_VALIDATOR}"
    elif (flag := validator.at("validateRequestBody")).value not in (True, UNKNOWN):
        yield f"set {flag} to true"
    models = operation.models
    if models is not UNKNOWN and _uncovered(operation.integration, models):
        yield f"give the request body of {operation.node} a schema {_FOR_EACH}"


def _unguarded(method: Node, integration: Integration) -> Iterator[str]:
    """The same of a method that is a resource."""
    if method.at("requestValidatorId").missing:
        yield "set requestValidatorId to a validator of the body"
    models = method.at("requestModels")
    if not models.unknown and _uncovered(integration, [str(kind) for kind, _ in models.members()]):
        yield f"give requestModels a model {_FOR_EACH}"


_FOR_EACH = "for each content type of the integration's requestTemplates: a body of another type is not validated"


def _uncovered(integration: Integration, kinds: Iterable[str]) -> bool:
    """Whether a body can get to a template without having been compared with a model of its content type."""
    modelled = set(kinds)
    return not modelled or not {str(kind) for kind, _ in integration.templates.members()} <= modelled


def model_closed(api: Subject) -> Iterator[str]:
    """The model of a body that goes straight to a service says all that may be in it."""
    met = set[Path]()
    for operation in _operations(api):
        if _takes_body(operation.integration, operation.verb) is not True:
            continue
        models = operation.models
        if models is UNKNOWN:
            api.deferred((*operation.node.path, "requestBody"))
            continue
        for schema in models.values():
            yield from _open(api, schema, met, root=True)


def _open(api: Subject, schema: Node, met: set[Path], *, root: bool = False) -> Iterator[str]:
    """Where a schema lets more through than it says; reads what API Gateway does, JSON schema draft 4."""
    if schema.path in met:
        return
    met.add(schema.path)
    if schema.unknown or schema.at("type").unknown:
        api.deferred(schema.path)
        return
    api.decided(schema.path)
    choices = [choice for name in ("anyOf", "oneOf") for _, choice in schema.at(name).members()]
    for choice in choices:
        yield from _open(api, choice, met, root=root)
    if choices or not schema.at("enum").missing:
        return
    types = items(schema.at("type").value)
    if not types:
        yield f"set {schema}.type"
    if "object" in types:
        yield from _open_object(api, schema, met, root=root)
    if "array" in types:
        yield from _open(api, schema.at("items"), met)
    if "string" in types:
        yield from _unbounded(api, schema)


def _open_object(api: Subject, schema: Node, met: set[Path], *, root: bool) -> Iterator[str]:
    if schema.at("additionalProperties").value not in (False, UNKNOWN):
        yield f"set {schema}.additionalProperties to false"
    required = schema.at("required")
    if root and not required.unknown and not required.members():
        yield f"list in {required} what the template needs"
    for _, inner in schema.at("properties").members():
        yield from _open(api, inner, met)


def _unbounded(api: Subject, schema: Node) -> Iterator[str]:
    longest, limit = schema.at("maxLength"), api.settings["maxLength"]
    pattern = schema.at("pattern")
    if longest.unknown or (longest.missing and (pattern.unknown or _bounds(pattern.value))):
        return
    number = whole(longest.value)
    if number is None or number > limit:
        yield f"set {longest} to {limit} or less"


# What is one character of a pattern, however it is written.
_CHARACTER = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]", re.DOTALL)


def _bounds(pattern: object) -> bool:
    """Whether a pattern is anchored at both ends and repeats nothing without an end."""
    bare = _CHARACTER.sub("x", pattern) if isinstance(pattern, str) else ""
    return bool(re.fullmatch(r"\^[^*+|]*\$", bare)) and ",}" not in bare


def _putting(api: Subject) -> Iterator[Integration]:
    """The integrations that put events onto a bus themselves; counts those that may turn out to as deferred."""
    found = [Integration(node=resource(api))] if api.type == INTEGRATION else [o.integration for o in _operations(api)]
    for integration in found:
        if integration.puts_events:
            yield integration
        elif integration.direct is UNKNOWN:
            api.deferred((*integration.node.path, "uri"))


_LONGEST = {
    "maxLength": Whole(default=65536, minimum=1, why="The most characters that one string of a model may have."),
}
_FIXED = """.replaceAll("\\\\'","'")"""


def integration_safe(api: Subject) -> Iterator[str]:
    """What a caller sends becomes data of the event, and nothing else of the call."""
    for integration in _putting(api):
        passthrough, credentials = integration.node.at("passthroughBehavior"), integration.node.at("credentials")
        api.decided(passthrough.path)
        if not passthrough.unknown and not _refuses_others(integration, passthrough):
            yield f"set {passthrough} to NEVER (never in OpenAPI): a body of another type would be the call itself"
        api.decided(credentials.path)
        if credentials.missing:
            yield f"set {credentials} to the ARN of a role that may put events onto the bus and no more"
        if integration.caller_targets:
            yield f"set {integration.target} to a literal action: the caller would choose it"
        if integration.templates.unknown:
            api.deferred(integration.templates.path)
        for _, template in integration.templates.members():
            if isinstance(template.value, str):
                api.decided(template.path)
                yield from _unsafe(template)
            else:
                api.deferred(template.path)


def _refuses_others(integration: Integration, passthrough: Node) -> bool:
    """Whether content types without a template are refused; WHEN_NO_TEMPLATES does once there is one."""
    templates = integration.templates
    templated = templates.unknown or bool(templates.members())
    return passthrough.word == "NEVER" or (passthrough.word == "WHEN_NO_TEMPLATES" and templated)


def _unsafe(template: Node) -> Iterator[str]:
    found = flaws(template.value)
    for name in sorted(flaw for flaw in found if isinstance(flaw, str)):
        yield f"write {name} literally in {template}: the caller would choose it"
    if Flaw.UNESCAPED in found:
        yield (
            f"in {template}, put $util.escapeJavaScript(...){_FIXED} around what comes from the request, once for each "
            "string around it, and take JSON inside a string from $input.json"
        )
    if Flaw.UNREAD in found:
        yield (
            f"write {template} with literal names, closed brackets, and no directives but #set, #if and #foreach: what "
            "cannot be followed, nobody can check"
        )
    if Flaw.APOSTROPHE in found:
        yield f"in {template}, append {_FIXED} to each escapeJavaScript(...): JSON knows no escaped apostrophe"


# What PutEvents answers when it refuses the whole call.
_REFUSALS = ("400", "403", "404", "413", "429", "500", "503")


def failure_mapped(api: Subject) -> Iterator[str]:
    """A caller is told that an event was taken only if it was."""
    for integration in _putting(api):
        if not integration.responses:
            api.deferred((*integration.node.path, "responses"))
        for response in integration.responses:
            finding = _hides_failure(response)
            if finding is UNKNOWN:
                api.deferred(response.status.path)
            else:
                api.decided(response.status.path)
                yield from items(finding)


def _hides_failure(response: Response) -> Any:
    """What to change where the response answers 2xx for an event that was not taken; None, or UNKNOWN."""
    code = response.status
    if code.unknown or response.pattern.unknown:
        return UNKNOWN
    if not status(code).startswith("2"):
        return None
    if response.is_default or any(response.answers(refusal) for refusal in _REFUSALS):
        return f"set {code} to that of a failure: the response also answers when PutEvents refuses"
    return _looks_away(response.templates) if response.answers("200") else None


def _looks_away(templates: Node) -> Any:
    texts = [template.value for _, template in templates.members()]
    if not all(text is UNKNOWN or (isinstance(text, str) and _looks(text)) for text in texts):
        return _LOOK.format(templates)
    if templates.unknown or UNKNOWN in texts:
        return UNKNOWN
    return None if texts else _LOOK.format(templates)


_LOOK = (
    "look at FailedEntryCount in each of {}, and set $context.responseOverride.status unless it is 0: "
    "PutEvents answers 200 even then"
)


def _looks(template: str) -> bool:
    said = without_comments(template)
    return bool(re.search("FailedEntryCount|ErrorCode", said)) and "$context.responseOverride.status" in said


def discrete_complete(stack: Stack) -> Iterator[tuple[Member, str]]:
    """The same for what only several resources say together; and what says its answers itself has one for success."""
    yield from _unanswered(stack)
    told = set[tuple[str, str]]()
    for method, integration, responses in _wired(stack):
        parts = (_exempted(method, integration), _bodies(stack, method, integration), _failures(integration, responses))
        for member, finding in chain.from_iterable(parts):
            if (member.urn, finding) not in told:
                told.add((member.urn, finding))
                yield member, finding


def _unanswered(stack: Stack) -> Iterator[tuple[Member, str]]:
    """The integrations that put events, say their answers themselves, and have none for events that were taken."""
    for api in stack.of(BODIES | {NATIVE_METHOD}):
        for integration in _putting(api):
            responses = integration.responses
            where = (*integration.node.path, "integrationResponses" if api.type == NATIVE_METHOD else "responses")
            if not responses or any(response.pattern.unknown for response in responses):
                api.deferred(where)
                continue
            api.decided(where)
            if not any(response.answers("200") for response in responses):
                yield (
                    api,
                    f"add to {spell(where)} one for 200: a caller hears of a failure though the event is on the bus",
                )


def _wired(stack: Stack) -> Iterator[tuple[Member | None, Integration, list[Member]]]:
    """Each integration with its method and, where they are resources too, its responses."""
    for member in stack.of(frozenset({INTEGRATION})):
        methods = [method for method in stack.of(frozenset({METHOD})) if _same_method(method, member)]
        responses = [response for response in stack.of(frozenset({RESPONSE})) if _same_method(response, member)]
        yield methods[0] if methods else None, Integration(node=resource(member)), responses
    for member in stack.of(frozenset({NATIVE_METHOD})):
        node = resource(member)
        yield member, Operation(node=node, verb="", document=node).integration, []


def _same_method(one: Member, other: Member) -> bool:
    return all(_same(one, other, name) for name in ("restApi", "resourceId", "httpMethod"))


def _same(one: Member, other: Member, name: str) -> bool:
    """Whether both say the same: an equal value, or while it is unknown, one that comes from the same resource."""
    values = one.get(name), other.get(name)
    if UNKNOWN not in values:
        return values[0] == values[1]
    origins = [{member.urn, *(origin.urn for origin in member.uses.get(name, ()))} for member in (one, other)]
    return bool(origins[0] & origins[1])


def _exempted(method: Member | None, integration: Integration) -> Iterator[tuple[Member, str]]:
    """What only the integration tells of a method whose verb is exempt from authorisation."""
    if method is None or method.type != METHOD or integration.direct is not True:
        return
    exempt = resource(method).at("httpMethod").word in method.settings["exemptMethods"]
    if exempt and _method_open(method, direct=True):
        yield method, f"set authorization to {_allowed(method)}: its integration calls an AWS service"


def _bodies(stack: Stack, method: Member | None, integration: Integration) -> Iterator[tuple[Member, str]]:
    if method is None:
        return
    node = resource(method)
    if _takes_body(integration, node.at("httpMethod").word) is not True:
        return
    if method.type == METHOD:
        method.decided("requestValidatorId")
        yield from ((method, finding) for finding in _unguarded(node, integration))
    for validator in stack.of(VALIDATORS):
        named = method.refers_to("requestValidatorId", validator)
        if named and validator.judge("validateRequestBody") not in (True, UNKNOWN):
            yield validator, "set validateRequestBody to true"
    kinds = [str(kind) for kind, _ in node.at("requestModels").members()]
    for model in stack.of(MODELS):
        if any(method.refers_to(("requestModels", kind), model) for kind in kinds):
            schema = Node(("schema",), document(model.get("schema")), quotable=model.quotable("schema"))
            yield from ((model, finding) for finding in _open(model, schema, set(), root=True))


def _failures(integration: Integration, responses: list[Member]) -> Iterator[tuple[Member, str]]:
    if not integration.puts_events:
        return
    for member in responses:
        node = resource(member)
        finding = _hides_failure(Response(node=node, pattern=node.at("selectionPattern")))
        if finding is UNKNOWN:
            member.deferred("statusCode")
        else:
            member.decided("statusCode")
            yield from ((member, text) for text in items(finding))


def policy_closed(api: Subject) -> Iterator[str]:
    """A resource policy says who may call, or refuses the others; one that lets everybody in is worse than none."""
    for node, policy in _policies(api):
        if policy is UNKNOWN:
            api.deferred(node.path)
        elif policy is not MISSING:
            api.decided(node.path)
            if policy is UNREADABLE:
                yield f"write {node} as a policy document in JSON"
                continue
            for statement in _opened(policy):
                yield (
                    f"say in Statement[{statement.index}] of {node} whom it allows, or deny everybody else: "
                    "as it is, every principal of the account is let in"
                )


def _policies(api: Subject) -> Iterator[tuple[Node, Any]]:
    """Where an API may have its policy, each with the document, MISSING, UNKNOWN or UNREADABLE."""
    for node in (resource(api).at("policy"), body(api).at("x-amazon-apigateway-policy")):
        yield node, json_document(node.value)


def _opened(policy: Any) -> list[Statement]:
    """The statements that let everybody in, and none refuses the others."""
    said = list(statements(policy))
    return [
        statement
        for statement in said
        if _open_to_all(statement) and not any(_denies_others(other, statement) for other in said)
    ]


def _open_to_all(statement: Statement) -> bool:
    return statement.public and not statement.restricted(("aws:VpcSourceIp",))


def _denies_others(statement: Statement, opened: Statement) -> bool:
    """Whether the statement refuses what the other one opens, but for some."""
    everybody = {("*", "*"), ("AWS", "*")} & set(statement.principals)
    covered = all(_within(resource, statement.resources) for resource in opened.resources)
    return statement.allows is False and bool(everybody) and bool(statement.conditions) and covered


def _within(resource: Any, patterns: list[Any]) -> bool:
    return any(UNKNOWN in (resource, pattern) or fnmatchcase(str(resource), str(pattern)) for pattern in patterns)


_AUTHORISING = {
    "authorizations": Texts(
        default=("AWS_IAM", "COGNITO_USER_POOLS", "CUSTOM"),
        choices=("API_KEY", "AWS_IAM", "COGNITO_USER_POOLS", "CUSTOM"),
        why="What counts as proof; CUSTOM is a Lambda authorizer, API_KEY a required key and no more.",
    ),
    "exemptMethods": Texts(
        default=("OPTIONS",),
        choices=("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"),
        why="HTTP methods that anybody may call, unless that calls an AWS service other than Lambda: a browser asks by "
        "OPTIONS before it can prove anything.",
    ),
}
_DOCS = "https://docs.aws.amazon.com/apigateway/latest/developerguide"

RULES = (
    Rule(
        name="api-method-authorised",
        why="Nobody calls a method of an API unless they prove that they may.",
        fix="Demand AWS_IAM, or an authorizer, of every method: an API key says who calls, and not that they may.",
        severity=Severity.CRITICAL,
        group=Group.GATEWAY,
        frameworks=(
            Control(framework="cdk-nag", reference="AwsSolutions-APIG4"),
            Control(framework="checkov", reference="CKV_AWS_59"),
            Control(framework="checkov", reference="CKV2_AWS_70"),
            Control(framework="trivy", reference="AWS-0004"),
            Control(framework="OWASP API Security Top 10", version="2023", reference="API2"),
            Control(framework="CWE", reference="306"),
        ),
        types=BODIES | frozenset(AUTHORIZATION),
        check=authorised,
        settings=_AUTHORISING,
        examined=Examined.IF_POSSIBLE,
        url=f"{_DOCS}/apigateway-control-access-to-api.html",
    ),
    Rule(
        name="api-request-validated",
        why="Where no code stands between a caller and an AWS service, API Gateway compares the body with a model.",
        fix="Give the method a validator of the body and a model for each content type that has a mapping template.",
        severity=Severity.HIGH,
        group=Group.GATEWAY,
        frameworks=(
            Control(framework="cdk-nag", reference="AwsSolutions-APIG2"),
            Control(framework="checkov", reference="CKV2_AWS_53"),
            Control(framework="CWE", reference="20"),
        ),
        types=BODIES | VALIDATORS | {NATIVE_METHOD},
        check=request_validated,
        examined=Examined.IF_POSSIBLE,
        url=f"{_DOCS}/api-gateway-method-request-validation.html",
    ),
    Rule(
        name="api-model-closed",
        why="The model of a body that goes straight to an AWS service admits what it names, within bounds.",
        fix="Give each object additionalProperties: false and the root its required, and each string a maxLength.",
        severity=Severity.HIGH,
        group=Group.GATEWAY,
        frameworks=(
            Control(framework="OWASP API Security Top 10", version="2023", reference="API3"),
            Control(framework="CWE", reference="915"),
        ),
        types=BODIES,
        check=model_closed,
        settings=_LONGEST,
        examined=Examined.IF_POSSIBLE,
        url=f"{_DOCS}/models-mappings-models.html",
    ),
    Rule(
        name="api-direct-integration-safe",
        why="Who calls a direct PutEvents integration chooses the data of an event, and neither its kind nor the call.",
        fix="Refuse content types without a template, escape what comes from the request, write the routing literally.",
        severity=Severity.CRITICAL,
        group=Group.GATEWAY,
        frameworks=(
            Control(framework="CWE", reference="116"),
            Control(framework="CWE", reference="74"),
        ),
        types=BODIES | {INTEGRATION, NATIVE_METHOD},
        check=integration_safe,
        examined=Examined.IF_POSSIBLE,
        url=f"{_DOCS}/api-gateway-mapping-template-reference.html",
    ),
    Rule(
        name="api-putevents-failure-mapped",
        why="A caller hears of success only if the event is on the bus; PutEvents answers 200 even if an entry failed.",
        fix="Let the response for 200 look at FailedEntryCount, and let no other response be a success.",
        severity=Severity.HIGH,
        group=Group.GATEWAY,
        frameworks=(
            Control(framework="CWE", reference="252"),
            Control(framework="CWE", reference="393"),
        ),
        types=BODIES | {NATIVE_METHOD},
        check=failure_mapped,
        examined=Examined.IF_POSSIBLE,
        url="https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html",
    ),
    StackRule(
        name="api-direct-integration-complete",
        why="A direct integration has all its parts, be they resources of their own: it is validated and answers.",
        fix="Give its method a validator of the body and closed models, and map success and failures to what they are.",
        severity=Severity.HIGH,
        group=Group.GATEWAY,
        frameworks=(
            Control(framework="cdk-nag", reference="AwsSolutions-APIG2"),
            Control(framework="CWE", reference="20"),
            Control(framework="CWE", reference="252"),
        ),
        types=BODIES | MODELS | VALIDATORS | {METHOD, NATIVE_METHOD, RESPONSE},
        check=discrete_complete,
        settings={**_LONGEST, **_AUTHORISING},
        url=f"{_DOCS}/api-gateway-method-request-validation.html",
    ),
    Rule(
        name="api-policy-closed",
        why="The resource policy of an API narrows who may call it.",
        fix="Name in the policy who may call, by a condition if not as a principal, or deny everybody else.",
        severity=Severity.HIGH,
        group=Group.BASELINE,
        frameworks=(Control(framework="CWE", reference="284"),),
        types=frozenset({API, NATIVE_API, IMPORT, API_POLICY}),
        check=policy_closed,
        url=f"{_DOCS}/apigateway-resource-policies.html",
    ),
)
