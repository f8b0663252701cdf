"""Whether IAM lets a call through: the deployed documents, evaluated as AWS documents it.

The rules are those of the IAM user guide: "Policy evaluation logic", "Cross-account policy evaluation logic", "IAM JSON
policy elements: Condition operators", "Single-valued vs. multivalued context keys", "AWS JSON policy elements:
Principal" and "IAM JSON policy elements: Resource"; for APIs, "How API Gateway resource policies affect authorization
workflow". Of the kinds of policy there are identity and resource policies only, as nothing that is deployed attaches a
permissions boundary, a session policy or a service control policy.

What is not supported decides nothing: a document that uses it denies every request that consults it, for a reason that
names it. So does a condition on a key that AWS states in every request and the caller has not stated.
"""

from __future__ import annotations

import json
import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple, cast

# --- who asks for what ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class RoleSession:
    """Whoever has assumed a role: a function, a pipe, a client with a role's temporary credentials."""

    role_arn: str
    session: str

    def __post_init__(self) -> None:
        if not _ROLE.fullmatch(self.role_arn):
            raise ValueError(f"{self.role_arn!r} is not the ARN of a role")

    @property
    def name(self) -> str:
        """The session's ARN, which lacks the role's path."""
        partition, role = self.role_arn.split(":")[1], self.role_arn.rpartition("/")[2]
        return f"arn:{partition}:sts::{self.account}:assumed-role/{role}/{self.session}"

    @property
    def account(self) -> str:
        return _account(self.role_arn)


@dataclass(frozen=True, kw_only=True)
class User:
    """An IAM user."""

    arn: str

    def __post_init__(self) -> None:
        if not _USER.fullmatch(self.arn):
            raise ValueError(f"{self.arn!r} is not the ARN of a user")

    @property
    def name(self) -> str:
        return self.arn

    @property
    def account(self) -> str:
        return _account(self.arn)


@dataclass(frozen=True, kw_only=True)
class Service:
    """An AWS service that acts by itself, on behalf of the resource `source_arn` where it says so.

    It has no identity policies: the resource's policy, or the role's trust, has to let it in.
    """

    name: str
    source_arn: str | None = None
    source_account: str | None = None


@dataclass(frozen=True)
class Anonymous:
    """Whoever sends an unsigned request to something that takes them, such as a function URL."""

    @property
    def name(self) -> str:
        return "anonymous"


Principal = RoleSession | User | Service | Anonymous


@dataclass(frozen=True, kw_only=True)
class Request:
    """One call: `resource` is an ARN, or "*" for an action that knows none.

    `context` is what the called service states beyond the principal: a text for a single-valued key, a list for a
    multivalued one. Keys ignore case. The keys of the principal are set here and nowhere else: `aws:PrincipalArn` (a
    session's role, a user), `aws:PrincipalAccount`, `aws:PrincipalIsAWSService`, `aws:SourceArn`, `aws:SourceAccount`.
    """

    principal: Principal
    action: str
    resource: str
    context: Mapping[str, str | Sequence[str]] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        if not _PLAIN_ACTION.fullmatch(self.action):
            raise ValueError(f"{self.action!r} is not an action")
        if self.resource != "*" and not _ARN.fullmatch(self.resource):
            raise ValueError(f"{self.resource!r} is not an ARN")
        if reserved := sorted(_OF_THE_PRINCIPAL & {key.lower() for key in self.context}):
            raise ValueError(f"the principal decides about {', '.join(reserved)}")


class Clause(NamedTuple):
    """One action, as written, of one statement of one document; a statement without a Sid is `#` and its position."""

    document: str
    statement: str
    action: str


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Whether a request is allowed; `clauses` are all that say so, or all that deny it explicitly.

    The reason of a denial starts with AWS's own words and names principal, action and resource.
    """

    allowed: bool
    reason: str
    clauses: tuple[Clause, ...] = ()

    @property
    def explicit(self) -> bool:
        """A statement denies it: no further Allow could help."""
        return not self.allowed and bool(self.clauses)


# --- documents --------------------------------------------------------------------------------------------------------

Document = str | Mapping[str, Any]
"""A policy as text or parsed."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """One document, ready to be evaluated; `name` stands for it in reasons and logs and is unique among documents.

    `flaw` says why the document can't be evaluated; such a policy denies whatever it is consulted for.
    """

    name: str
    statements: tuple[_Statement, ...] = ()
    flaw: str | None = None


def identity_policy(name: str, document: Document) -> Policy:
    """A policy attached to a role or a user."""
    return _policy(name, document, {"Effect", "Action", "Resource"})


def resource_policy(name: str, document: Document) -> Policy:
    """A policy attached to a queue, a bus or another resource."""
    return _policy(name, document, {"Effect", "Principal", "Action", "Resource"})


def trust_policy(name: str, document: Document, *, role_arn: str) -> Policy:
    """A role's trust policy, whose statements name no resource and mean the role."""
    return _policy(name, document, {"Effect", "Principal", "Action"}, resource=lambda _: role_arn)


def api_policy(name: str, document: Document, *, execution_arn: str) -> Policy:
    """A REST API's policy, in which API Gateway completes `execute-api:/stage/METHOD/path`.

    `execution_arn` is `arn:aws:execute-api:{region}:{account}:{api}` ("API Gateway resource policy examples").
    """
    return _policy(
        name,
        document,
        {"Effect", "Principal", "Action", "Resource"},
        resource=lambda arn: re.sub("^execute-api:/", f"{execution_arn}/", arn),
    )


@dataclass(frozen=True, kw_only=True)
class Permission:
    """The parameters of Lambda's AddPermission."""

    statement_id: str
    action: str
    principal: str
    source_arn: str | None = None
    source_account: str | None = None
    function_url_auth_type: str | None = None
    invoked_via_function_url: bool = False


def function_policy(name: str, permissions: Iterable[Permission], *, function_arn: str) -> Policy:
    """A function's policy, which Lambda writes from permissions ("Using resource-based policies in Lambda")."""
    statements = [_permission_statement(permission, function_arn) for permission in permissions]
    return resource_policy(name, {"Version": "2012-10-17", "Statement": statements})


def _permission_statement(permission: Permission, function_arn: str) -> dict[str, Any]:
    principal: Any = {"Service" if permission.principal.endswith(".amazonaws.com") else "AWS": permission.principal}
    conditions: dict[str, dict[str, str]] = {}
    if permission.source_arn is not None:
        conditions["ArnLike"] = {"AWS:SourceArn": permission.source_arn}
    equals = {
        "AWS:SourceAccount": permission.source_account,
        "lambda:FunctionUrlAuthType": permission.function_url_auth_type,
    }
    if stated := {key: value for key, value in equals.items() if value is not None}:
        conditions["StringEquals"] = stated
    if permission.invoked_via_function_url:
        conditions["Bool"] = {"lambda:InvokedViaFunctionUrl": "true"}
    return {
        "Sid": permission.statement_id,
        "Effect": "Allow",
        "Principal": "*" if permission.principal == "*" else principal,
        "Action": permission.action,
        "Resource": function_arn,
        "Condition": conditions,
    }


# --- decisions --------------------------------------------------------------------------------------------------------


def evaluate(request: Request, *, identity: Iterable[Policy] = (), resource: Policy | None = None) -> Decision:
    """Decide `request` by the principal's `identity` policies and the policy of the `resource` it is for.

    An explicit Deny in any of them wins. Then, within one account, an Allow in either is enough; from another account
    it takes both. Services and anonymous callers need the resource's. Two exceptions: a role is assumed only where its
    trust says so, and an account as Principal passes the decision on to the identity policies.
    """
    who = request.principal.name
    refusal = f"User: {who} is not authorized to perform: {request.action} on resource: {request.resource}"
    own = list(identity)
    if own and isinstance(request.principal, Service | Anonymous):
        raise ValueError(f"{who} has no identity policies")
    consulted = [*own, resource] if resource else own
    for policy in consulted:
        if policy.flaw:
            return Decision(allowed=False, reason=f"{refusal} because {policy.name} can't be decided: {policy.flaw}")
    try:
        of_identity = [match for policy in own for match in _matches(policy, request)]
        of_resource = _matches(resource, request) if resource else []
    except _UndecidableError as error:
        return Decision(allowed=False, reason=f"{refusal} because {error}")

    if denials := [match for match in (*of_identity, *of_resource) if match.statement.effect == "Deny"]:
        clauses = _clauses(denials)
        reason = f"{refusal} with an explicit deny: {_listed(clauses)}"
        return Decision(allowed=False, reason=reason, clauses=clauses)
    if missing := _missing(request, of_identity, of_resource):
        return Decision(allowed=False, reason=f"{refusal} because {missing}")
    clauses = _clauses([*of_identity, *of_resource])
    reason = f"{who} may perform {request.action} on {request.resource}: {_listed(clauses)}"
    return Decision(allowed=True, reason=reason, clauses=clauses)


def _missing(request: Request, of_identity: list[_Match], of_resource: list[_Match]) -> str:
    """What keeps these Allows from being enough, as the end of a sentence; nothing if they are."""
    directly = any(match.directly for match in of_resource)
    if isinstance(request.principal, Service | Anonymous):
        return "" if directly else "no statement of the resource's policy allows it"
    foreign = _account(request.resource) not in {"", request.principal.account}
    assumes = request.action.lower().startswith("sts:assumerole")
    if (foreign or assumes) and not of_resource:
        return "no statement of the resource's policy allows it"
    if foreign and not of_identity:
        return "no statement of an identity policy allows it, which a call into another account needs"
    if of_identity or directly:
        return ""
    return "no statement allows it" if not of_resource else "the resource's policy leaves it to the identity policies"


def unused(policies: Iterable[Policy], entries: Iterable[Entry]) -> list[Clause]:
    """What `policies` grant and no allowed call among `entries` took."""
    checked = list(policies)
    if len({policy.name for policy in checked}) < len(checked):
        raise ValueError("two documents have one name")
    # A denial's clauses are the denying ones, which grant nothing.
    used = {clause for entry in entries for clause in entry.clauses}
    granted: list[Clause] = []
    for policy in checked:
        if policy.flaw:
            raise ValueError(f"{policy.name} can't be decided: {policy.flaw}")
        granted += (
            Clause(policy.name, statement.id, action)
            for statement in policy.statements
            if statement.effect == "Allow"
            for action in statement.actions
        )
    return [clause for clause in granted if clause not in used]


class Entry(NamedTuple):
    """One recorded decision, of texts only, so that the logs of several processes can be put together."""

    who: str
    action: str
    resource: str
    allowed: bool
    reason: str
    clauses: tuple[Clause, ...]


# An idle pipe alone asks twenty times a second.
_REMEMBERED = 20_000


class DecisionLog:
    """Decides and remembers, for any number of threads: the last 20,000 decisions, as many denials, what was used."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: deque[Entry] = deque(maxlen=_REMEMBERED)
        self._denied: deque[Entry] = deque(maxlen=_REMEMBERED)
        self._uses: dict[tuple[Clause, ...], Entry] = {}

    def decide(self, request: Request, *, identity: Iterable[Policy] = (), resource: Policy | None = None) -> Decision:
        """`evaluate`, recorded."""
        decision = evaluate(request, identity=identity, resource=resource)
        entry = Entry(
            request.principal.name,
            request.action,
            request.resource,
            decision.allowed,
            decision.reason,
            decision.clauses,
        )
        with self._lock:
            self._entries.append(entry)
            if entry.allowed:
                self._uses.setdefault(entry.clauses, entry)
            else:
                self._denied.append(entry)
        return decision

    def entries(self) -> list[Entry]:
        """The last decisions, in the order they were made."""
        with self._lock:
            return list(self._entries)

    def denied(self) -> list[Entry]:
        """The last denials, in the order they were made."""
        with self._lock:
            return list(self._denied)

    def unused(self, policies: Iterable[Policy]) -> list[Clause]:
        """What `policies` grant and no call took so far."""
        with self._lock:
            uses = list(self._uses.values())
        return unused(policies, uses)


# --- statements -------------------------------------------------------------------------------------------------------

_ARN = re.compile(r"arn:[^:]+:[^:]+:[^:]*:[^:]*:.+", re.DOTALL)
_ROLE = re.compile(r"arn:[a-z-]+:iam::\d{12}:role/.+")
_USER = re.compile(r"arn:[a-z-]+:iam::\d{12}:user/.+")
_PLAIN_ACTION = re.compile(r"[A-Za-z0-9-]+:[A-Za-z0-9]+")
_ACTION = re.compile(r"\*|[A-Za-z0-9-]+:[A-Za-z0-9*?]+")
_OWN_PRINCIPAL = re.compile(
    r"\*|\d{12}|arn:[a-z-]+:iam::\d{12}:(root|(role|user)/[^*?]+)|arn:[a-z-]+:sts::\d{12}:assumed-role/[^*?/]+/[^*?/]+"
)
_SERVICE_PRINCIPAL = re.compile(r"[a-z0-9.-]+\.amazonaws\.com")
_ELEMENTS = {"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}

_OF_THE_PRINCIPAL = {
    "aws:principalarn",
    "aws:principalaccount",
    "aws:principalisawsservice",
    "aws:sourcearn",
    "aws:sourceaccount",
}
# Keys that are documented to be absent from some requests, and that whoever asks states when they are there. Any other
# key is one that AWS may have and the caller doesn't know of: to take it for absent would be a guess.
_MAY_BE_ABSENT = {
    *_OF_THE_PRINCIPAL,
    "events:source",
    "events:detail-type",
    "lambda:functionurlauthtype",
    "lambda:invokedviafunctionurl",
}


class _FlawError(ValueError):
    """The document can't be evaluated, for the reason in the message."""


class _UndecidableError(ValueError):
    """A condition can't be decided for this request, for the reason in the message."""


@dataclass(frozen=True, kw_only=True)
class _Condition:
    operator: str
    key: str
    values: tuple[str, ...]
    matches: Callable[[str, str], bool]
    """Whether a value of the request matches a value of the policy."""
    negated: bool
    qualifier: str
    if_exists: bool

    def holds(self, value: str | Sequence[str] | None) -> bool:
        """Whether the condition is met by what the request says of its key; None for an absent key."""
        several = [value] if isinstance(value, str) else list(value or ())
        present = [one for one in several if one]  # "a null dataset, such as an empty string"
        if self.operator == "Null":
            return str(not present).lower() in self.values
        if self.qualifier == "ForAllValues":
            return all(map(self._accepts, present))
        if self.qualifier == "ForAnyValue":
            return any(map(self._accepts, present))
        if value is None:
            return self.negated or self.if_exists
        if not isinstance(value, str):
            raise _UndecidableError(f"{self.key} is multivalued and {self.operator} has no ForAllValues or ForAnyValue")
        return self._accepts(value)

    def _accepts(self, value: str) -> bool:
        return any(self.matches(value, wanted) for wanted in self.values) != self.negated


@dataclass(frozen=True, kw_only=True)
class _Statement:
    id: str
    effect: str
    principals: frozenset[str] | None
    """None in an identity policy: the principal is whoever it is attached to."""
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: tuple[_Condition, ...]


class _Match(NamedTuple):
    """A statement that applies to a request; not `directly` where it is the principal's account that it names."""

    document: str
    statement: _Statement
    actions: tuple[str, ...]
    directly: bool


def _matches(policy: Policy, request: Request) -> list[_Match]:
    """The statements of `policy` that apply."""
    found: list[_Match] = []
    names, account = _names(request.principal)
    context = _context(request)
    for statement in policy.statements:
        actions = tuple(a for a in statement.actions if _glob(a.lower()).fullmatch(request.action.lower()))
        if not actions or not any(_resource_pattern(arn).fullmatch(request.resource) for arn in statement.resources):
            continue
        directly = statement.principals is None or bool(statement.principals & names)
        if not directly and not (statement.principals and statement.principals & account):
            continue
        try:
            holds = all(condition.holds(_stated(condition.key, context)) for condition in statement.conditions)
        except _UndecidableError as error:
            raise _UndecidableError(f"{statement.id} of {policy.name} can't be decided: {error}") from error
        if holds:
            found.append(_Match(policy.name, statement, actions, directly))
    return found


def _names(principal: Principal) -> tuple[set[str], set[str]]:
    """How a Principal element can name this one, and how it can name its account."""
    match principal:
        case RoleSession() | User():
            partition, account = principal.name.split(":")[1], principal.account
            own = {"*", principal.name}
            if isinstance(principal, RoleSession):
                own.add(principal.role_arn)
            return own, {account, f"arn:{partition}:iam::{account}:root"}
        case Service():
            return {"*", principal.name}, set()
        case Anonymous():
            return {"*"}, set()


def _context(request: Request) -> dict[str, str | Sequence[str]]:
    principal = request.principal
    keys: dict[str, str | Sequence[str] | None] = {key.lower(): value for key, value in request.context.items()}
    keys["aws:principalisawsservice"] = str(isinstance(principal, Service)).lower()
    if isinstance(principal, Service):
        keys |= {"aws:sourcearn": principal.source_arn, "aws:sourceaccount": principal.source_account}
    elif not isinstance(principal, Anonymous):
        arn = principal.role_arn if isinstance(principal, RoleSession) else principal.arn
        keys |= {"aws:principalarn": arn, "aws:principalaccount": principal.account}
    return {key: value for key, value in keys.items() if value is not None}


def _stated(key: str, context: Mapping[str, str | Sequence[str]]) -> str | Sequence[str] | None:
    value = context.get(key.lower())
    if value is None and key.lower() not in _MAY_BE_ABSENT:
        raise _UndecidableError(f"the request does not state {key}")
    return value


def _clauses(matches: list[_Match]) -> tuple[Clause, ...]:
    return tuple(Clause(match.document, match.statement.id, action) for match in matches for action in match.actions)


def _listed(clauses: tuple[Clause, ...]) -> str:
    """The statements of the clauses, each once."""
    return ", ".join(dict.fromkeys(f"{clause.statement} of {clause.document}" for clause in clauses))


def _account(arn: str) -> str:
    """The account in an ARN; empty for "*" and where the ARN has none."""
    return arn.split(":")[4] if arn != "*" else ""


# --- patterns ---------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def _glob(pattern: str) -> re.Pattern[str]:
    """`*` is any text and `?` any one character."""
    return re.compile("".join({"*": ".*", "?": "."}.get(c) or re.escape(c) for c in pattern), re.DOTALL)


@lru_cache(maxsize=1024)
def _resource_pattern(pattern: str) -> re.Pattern[str]:
    """Wildcards stay within a segment of the ARN, but for a `*` at the end of one, which goes beyond the colons."""
    rules = (("[*]+(?=:|$)", ".*"), ("[*]", "[^:]*"), ("[?]", "[^:]"), (".", ""))
    parts = re.finditer("|".join(f"({rule})" for rule, _ in rules), pattern, re.DOTALL)
    return re.compile("".join(rules[(p.lastindex or 0) - 1][1] or re.escape(p[0]) for p in parts), re.DOTALL)


def _arn_like(value: str, pattern: str) -> bool:
    """Each of the six parts by itself: a wildcard never reaches beyond a colon between them."""
    parts, patterns = value.split(":", 5), pattern.split(":", 5)
    return len(parts) == len(patterns) and all(_glob(p).fullmatch(v) for v, p in zip(parts, patterns, strict=True))


def _equal(value: str, wanted: str) -> bool:
    return value == wanted


def _equal_ignoring_case(value: str, wanted: str) -> bool:
    return value.casefold() == wanted.casefold()


def _like(value: str, pattern: str) -> bool:
    return bool(_glob(pattern).fullmatch(value))


# By operator: how a value matches, and whether the operator is true where none does.
_OPERATORS: dict[str, tuple[Callable[[str, str], bool], bool]] = {
    "StringEquals": (_equal, False),
    "StringNotEquals": (_equal, True),
    "StringEqualsIgnoreCase": (_equal_ignoring_case, False),
    "StringNotEqualsIgnoreCase": (_equal_ignoring_case, True),
    "StringLike": (_like, False),
    "StringNotLike": (_like, True),
    "ArnEquals": (_arn_like, False),
    "ArnLike": (_arn_like, False),
    "ArnNotEquals": (_arn_like, True),
    "ArnNotLike": (_arn_like, True),
    "Bool": (_equal_ignoring_case, False),
    "Null": (_equal, False),
}

# --- reading a document -----------------------------------------------------------------------------------------------


def _as_written(value: str) -> str:
    return value


def _policy(
    name: str, document: Document, required: set[str], *, resource: Callable[[str], str] = _as_written
) -> Policy:
    try:
        return Policy(name=name, statements=tuple(_statements(document, required, resource)))
    except _FlawError as error:
        return Policy(name=name, flaw=str(error))


def _statements(document: Document, required: set[str], resource: Callable[[str], str]) -> list[_Statement]:
    content = _object(_parsed(document) if isinstance(document, str) else document, "the document")
    if unknown := content.keys() - {"Version", "Id", "Statement"}:
        raise _FlawError(f"unsupported element {', '.join(sorted(unknown))}")
    if content.get("Version", "2008-10-17") not in {"2008-10-17", "2012-10-17"}:
        raise _FlawError(f"unsupported Version {content['Version']!r}")
    statements = content.get("Statement")
    found: list[_Statement] = []
    for position, item in enumerate(cast("list[Any]", statements) if isinstance(statements, list) else [statements]):
        statement = _object(item, f"statement #{position}")
        sid = statement.get("Sid") or f"#{position}"
        try:
            found.append(_statement(str(sid), statement, required, resource))
        except _FlawError as error:
            raise _FlawError(f"statement {sid}: {error}") from error
    if len({statement.id for statement in found}) < len(found):
        raise _FlawError("two statements have one Sid")
    return found


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_without_repetition)
    except json.JSONDecodeError as error:
        raise _FlawError(f"not JSON: {error}") from error


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON lets the last of two equal keys win, which would drop a condition without a word."""
    if len(dict(pairs)) < len(pairs):
        raise _FlawError(f"repeated element among {', '.join(key for key, _ in pairs)}")
    return dict(pairs)


def _statement(
    sid: str, statement: Mapping[str, Any], required: set[str], resource: Callable[[str], str]
) -> _Statement:
    if unsupported := statement.keys() - _ELEMENTS:
        raise _FlawError(f"unsupported element {', '.join(sorted(unsupported))}")
    if wrong := (statement.keys() - {"Sid", "Condition"}) ^ required:
        raise _FlawError(
            f"this kind of policy has {', '.join(sorted(required))}; wrong here: {', '.join(sorted(wrong))}"
        )
    if statement["Effect"] not in {"Allow", "Deny"}:
        raise _FlawError(f"unsupported Effect {statement['Effect']!r}")
    return _Statement(
        id=sid,
        effect=statement["Effect"],
        principals=_principals(statement["Principal"]) if "Principal" in required else None,
        actions=tuple(_checked(action, _ACTION, "Action") for action in _texts(statement["Action"], "Action")),
        resources=tuple(_resource(resource(arn)) for arn in _texts(statement.get("Resource", "*"), "Resource")),
        conditions=tuple(_conditions(statement.get("Condition", {}))),
    )


def _principals(element: Any) -> frozenset[str]:
    """The names in a Principal element; `{"AWS": "*"}` means the same as `"*"`."""
    if element == "*":
        return frozenset({"*"})
    names: set[str] = set()
    for kind, values in _object(element, "Principal").items():
        if kind not in {"AWS", "Service"}:
            raise _FlawError(f"unsupported Principal {kind}")
        pattern = _OWN_PRINCIPAL if kind == "AWS" else _SERVICE_PRINCIPAL
        names |= {_checked(value, pattern, f"Principal {kind}") for value in _texts(values, f"Principal {kind}")}
    return frozenset(names)


def _resource(arn: str) -> str:
    if arn == "*":
        return arn
    _checked(arn, _ARN, "Resource")
    if {"*", "?"} & set(arn.split(":")[2]):
        raise _FlawError(f"Resource {arn!r} has a wildcard for the service")
    return arn


def _conditions(element: Any) -> list[_Condition]:
    return [
        _condition(operator, key, values)
        for operator, keys in _object(element, "Condition").items()
        for key, values in _object(keys, operator).items()
    ]


def _condition(operator: str, key: str, values: Any) -> _Condition:
    qualifier, _, bare = operator.rpartition(":")
    base = bare.removesuffix("IfExists")
    # What IfExists adds to a set operator is not documented, and reported to be nothing.
    modified = bool(qualifier) + (base != bare)
    allowed = 0 if base == "Null" else 1
    if base not in _OPERATORS or qualifier not in {"", "ForAllValues", "ForAnyValue"} or modified > allowed:
        raise _FlawError(f"unsupported operator {operator}")
    matches, negated = _OPERATORS[base]
    texts = _texts(values, f"{operator} {key}")
    if base in {"Bool", "Null"}:
        texts = [text.lower() for text in texts]
        if not {"true", "false"}.issuperset(texts):
            raise _FlawError(f"{operator} {key} is neither true nor false")
    if matches is _arn_like:
        texts = [_checked(text, _ARN, f"{operator} {key}") for text in texts]
    return _Condition(
        operator=base,
        key=key,
        values=tuple(texts),
        matches=matches,
        negated=negated,
        qualifier=qualifier,
        if_exists=base != bare,
    )


def _object(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _FlawError(f"{what} is not an object")
    return cast("Mapping[str, Any]", value)


def _texts(value: Any, what: str) -> list[str]:
    """One value or several; JSON's booleans and numbers count as their texts."""
    texts: list[str] = []
    for item in cast("list[Any]", value) if isinstance(value, list) else [value]:
        if not isinstance(item, str | bool | int):
            raise _FlawError(f"{what} is neither a text nor a list of texts")
        text = str(item).lower() if isinstance(item, bool) else str(item)
        if "${" in text:
            raise _FlawError(f"unsupported policy variable in {what} {text!r}")
        texts.append(text)
    if not texts:
        raise _FlawError(f"{what} is empty")
    return texts


def _checked(value: str, pattern: re.Pattern[str], what: str) -> str:
    if not pattern.fullmatch(value):
        raise _FlawError(f"unsupported {what} {value!r}")
    return value
