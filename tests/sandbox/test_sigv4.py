"""What botocore and curl sign is understood, and nothing that was changed on the way."""

import hashlib
import os
import re
import shutil
import subprocess
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import NamedTuple
from urllib.parse import quote, urlsplit

import boto3
import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from sandbox.sigv4 import AccessKey, Fault, Refusal, verify

REGION, SERVICE = "eu-west-1", "execute-api"
SECRET, OTHER_SECRET, TOKEN = "s3cr3t/KEY+x", "0ther/KEY", "t0ken/with+signs=="
KEYS = {
    "AKIDCLIENT": AccessKey(secret=SECRET, identity="client"),
    "AKIDOTHER": AccessKey(secret=OTHER_SECRET, identity="other"),
    "ASIASESSION": AccessKey(secret=SECRET, identity="session", session_token=TOKEN),
    "ASIAEXPIRED": AccessKey(
        secret=SECRET, identity="expired", session_token=TOKEN, expires=datetime(2026, 1, 1, tzinfo=UTC)
    ),
}


class Sent(NamedTuple):
    """A request as it arrives; header values are bytes read as Latin-1."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name):
        (value,) = (v for n, v in self.headers if n.lower() == name.lower())
        return value

    def with_header(self, name, value):
        """The same with another value of a header; None removes it."""
        others = tuple((n, v) for n, v in self.headers if n.lower() != name.lower())
        return self._replace(headers=others if value is None else (*others, (name, value)))

    def with_authorization(self, pattern, replacement):
        changed, count = re.subn(pattern, lambda _: replacement, self.header("Authorization"))
        assert count == 1, pattern
        return self.with_header("Authorization", changed)


def sign(
    target="/v1/orders",
    *,
    method="POST",
    headers=(),
    body=b"{}",
    key="AKIDCLIENT",
    secret=SECRET,
    token=None,
    service=SERVICE,
    region=REGION,
):
    """What a client sends that signs with botocore, a moment ago."""
    request = AWSRequest(method=method, url=f"http://localhost:4566{target}", data=body, headers=dict(headers))
    SigV4Auth(Credentials(key, secret, token), service, region).add_auth(request)
    return arriving(request.prepare())


def arriving(prepared):
    parts = urlsplit(prepared.url)
    received = [(name, as_latin1(value)) for name, value in prepared.headers.items()]
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    body = prepared.body or b""
    host = ("Host", parts.netloc)
    return Sent(prepared.method, target, (host, *received), body.encode() if isinstance(body, str) else body)


def as_latin1(value):
    return value.decode("latin-1") if isinstance(value, bytes) else value.encode().decode("latin-1")


def check(sent, *, now=None, service=SERVICE, region=REGION, keys=KEYS.get):
    return verify(*sent, service=service, region=region, keys=keys, now=now)


def when(sent):
    return datetime.strptime(sent.header("X-Amz-Date"), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


# --- what is understood -----------------------------------------------------------------------------------------------

segments = st.text(max_size=12).map(lambda text: quote(text.encode(errors="replace"), safe="!$&'()*+,;=:@~"))
paths = st.lists(segments, max_size=4).map(lambda parts: "/" + "/".join(parts))
words = st.text(max_size=8).map(lambda text: quote(text.encode(errors="replace"), safe=""))
queries = st.lists(st.tuples(words, words), max_size=4).map(lambda pairs: "&".join(f"{k}={v}" for k, v in pairs))
targets = st.builds(lambda path, query: f"{path}?{query}" if query else path, paths, queries)
values = st.text(st.characters(min_codepoint=0x20, exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=20)
extra_headers = st.dictionaries(
    st.sampled_from(["X-Amz-Target", "Content-Type", "Idempotency-Key", "X-Note", "Accept"]), values, max_size=4
)
methods = st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH"])


@settings(deadline=None, max_examples=200)
@given(method=methods, target=targets, headers=extra_headers, body=st.binary(max_size=60), session=st.booleans())
@example(method="GET", target="/v1/orders/a%2Fb%20c//../d/?z=1&a=&a=%C3%A9&b=2", headers={}, body=b"", session=True)
@example(
    method="GET", target="//v1/./x/", headers={"X-Note": "  two  spaces\tand ünïcödé 🙂 "}, body=b"", session=False
)
def test_what_botocore_signs_is_its_senders(method, target, headers, body, session):
    key, token, identity = ("ASIASESSION", TOKEN, "session") if session else ("AKIDCLIENT", None, "client")

    assert check(sign(target, method=method, headers=headers, body=body, key=key, token=token)) == identity


class CapturedError(Exception):
    """Stops a client at the request that it would send."""


@pytest.mark.parametrize(
    ("service", "call"),
    [
        ("dynamodb", lambda client: client.get_item(TableName="orders", Key={"PK": {"S": "ü"}})),
        ("sqs", lambda client: client.send_message(QueueUrl="http://127.0.0.1:9/1/q", MessageBody="é")),
        ("events", lambda client: client.put_events(Entries=[{"Source": "s", "DetailType": "d", "Detail": "{}"}])),
        ("sts", lambda client: client.get_caller_identity()),
        ("lambda", lambda client: client.invoke(FunctionName="arn:aws:lambda:eu-west-1:1:function:f", Payload=b"{}")),
        ("iam", lambda client: client.get_role(RoleName="r")),
    ],
)
def test_what_an_sdk_sends_to_a_service_is_understood(service, call):
    client = boto3.client(
        service,
        region_name=REGION,
        endpoint_url="http://127.0.0.1:9",
        aws_access_key_id="ASIASESSION",
        aws_secret_access_key=SECRET,
        aws_session_token=TOKEN,
        config=Config(retries={"total_max_attempts": 1}),
    )

    def capture(request, **_):
        raise CapturedError(request)

    client.meta.events.register("before-send.*.*", capture)
    with pytest.raises(CapturedError) as captured:
        call(client)
    sent = arriving(captured.value.args[0])

    assert check(sent, service=service) == "session"
    assert check(sent, service="execute-api").fault is Fault.SIGNATURE_DOES_NOT_MATCH


@pytest.fixture
def server():
    """Takes requests, and keeps them as they came."""
    received = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            received.append(Sent(self.command, self.path, tuple(self.headers.items()), body))
            self.send_response(204)
            self.end_headers()

        do_GET = do_POST  # noqa: N815 - http.server's name

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}", received
        listening.shutdown()
        thread.join()


@pytest.fixture
def curl():
    found = shutil.which("curl")
    if not found:
        pytest.skip("there is no curl")
    if "--aws-sigv4" not in subprocess.run([found, "--help", "all"], capture_output=True, text=True, check=True).stdout:
        pytest.skip("this curl has no --aws-sigv4")
    return found


@pytest.mark.parametrize(
    "arguments",
    [
        ["/v1/orders/7f3a"],
        ["/v1/orders?a=1&b=2"],
        ["/v1/orders", "--json", '{"reference": "ü"}', "-H", "Idempotency-Key: k-1"],
        ["/v1/orders", "-X", "POST"],
    ],
)
def test_what_curl_signs_is_understood(server, curl, arguments):
    url, received = server
    path, *options = arguments
    signing = ["--aws-sigv4", f"aws:amz:{REGION}:{SERVICE}", "--user", f"AKIDCLIENT:{SECRET}"]
    environment = {**os.environ, "no_proxy": "127.0.0.1"}
    subprocess.run([curl, "-sS", "--max-time", "20", *signing, *options, url + path], check=True, env=environment)
    (sent,) = received

    assert check(sent) == "client"
    assert isinstance(check(sent._replace(target=sent.target + "x")), Refusal)


def test_a_signature_holds_for_five_minutes_either_way():
    sent = sign()
    for seconds in (-300, 0, 300):
        assert check(sent, now=when(sent) + timedelta(seconds=seconds)) == "client"
    late, early = (check(sent, now=when(sent) + timedelta(seconds=seconds)) for seconds in (301, -301))

    stamp = sent.header("X-Amz-Date")
    assert re.fullmatch(
        rf"Signature expired: {stamp} is now earlier than \d+T\d+Z \(\d+T\d+Z - 5 min\.\)", late.message
    )
    assert early.message.startswith(f"Signature not yet current: {stamp} is still later than ")
    assert (late.fault, early.fault) == (Fault.SIGNATURE_DOES_NOT_MATCH,) * 2


def test_one_canonical_form_has_one_signature():
    sent = sign("/v1/orders/x?b=2&a=1&c=")
    for target in ("/v1//orders/./x?a=1&c&b=2", "/v1/y/../orders/x?c=&b=2&a=1"):
        assert check(sent._replace(target=target)) == "client"


# --- what is refused --------------------------------------------------------------------------------------------------


def canonical_target(target):
    """A target's canonical form by the rules, not by the code under test."""
    path, _, query = target.partition("?")
    segments = []
    for segment in path.split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment not in {"", "."}:
            segments.append(segment)
    closed = path.endswith("/") and bool(segments)
    pairs = sorted((name, value) for name, _, value in (pair.partition("=") for pair in query.split("&")))
    return segments, closed, pairs if query else []


def spliced(data, text, alphabet, label):
    """`text` with one character inserted, replaced or removed."""
    at = data.draw(st.integers(0, len(text)), label=f"{label} at")
    removed = data.draw(st.integers(0, 1), label="removed")
    return text[:at] + data.draw(st.text(alphabet, max_size=1), label="inserted") + text[at + removed :]


TARGET_CHARACTERS = "".join(map(chr, range(0x21, 0x7F))) + "\t é"
MUTATIONS = ("method", "target", "body", "header", "signed names", "extra", "authorization", "date", "host")


@settings(deadline=None, max_examples=600)
@given(
    data=st.data(),
    sent=st.builds(
        sign,
        targets,
        method=methods,
        headers=extra_headers,
        body=st.binary(max_size=30),
        key=st.just("ASIASESSION"),
        token=st.just(TOKEN),
    ),
    mutation=st.sampled_from(MUTATIONS),
)
def test_no_changed_request_is_anybodys(data, sent, mutation):
    assert check(sent) == "session"
    signed = re.search("SignedHeaders=([^,]+)", sent.header("Authorization"))[1].split(";")
    changed = sent
    match mutation:
        case "method":
            changed = sent._replace(method=data.draw(st.sampled_from(["GET", "POST", "HEAD", sent.method.lower(), ""])))
            assume(changed.method != sent.method)
        case "target":
            changed = sent._replace(target=spliced(data, sent.target, TARGET_CHARACTERS, "target"))
            assume(canonical_target(changed.target) != canonical_target(sent.target))
        case "body":
            at = data.draw(st.integers(0, len(sent.body)))
            changed = sent._replace(body=sent.body[:at] + data.draw(st.binary(max_size=2)) + sent.body[at + 1 :])
            assume(changed.body != sent.body)
        case "header":
            name = data.draw(st.sampled_from(signed))
            value = data.draw(
                st.none() | st.text(max_size=8).map(lambda text: as_latin1(text.encode(errors="replace")))
            )
            assume(value is None or value.encode("latin-1").decode().split() != as_text(sent.header(name)).split())
            changed = sent.with_header(name, value)
        case "signed names":
            names = data.draw(st.lists(st.sampled_from([*signed, "accept", "x-none"]), max_size=len(signed)))
            assume(names != signed)
            changed = sent.with_authorization("SignedHeaders=[^,]+", f"SignedHeaders={';'.join(names)}")
        case "extra":
            name = data.draw(st.sampled_from(["X-Amz-Anything", "X-Amz-Date", "Host", "Authorization", "X-Amz-Target"]))
            changed = sent._replace(headers=(*sent.headers, (name, data.draw(st.sampled_from(["", "x"])))))
        case "authorization":
            changed = sent.with_header(
                "Authorization", spliced(data, sent.header("Authorization"), TARGET_CHARACTERS, "Authorization")
            )
            assume(normal(changed.header("Authorization")) != normal(sent.header("Authorization")))
        case "date":
            seconds = data.draw(st.integers(-400, 400).filter(bool))
            moved = when(sent) + timedelta(seconds=seconds)
            changed = sent.with_header("X-Amz-Date", f"{moved:%Y%m%dT%H%M%SZ}").with_authorization(
                r"/\d{8}/", f"/{moved:%Y%m%d}/"
            )
        case "host":
            changed = sent.with_header("Host", spliced(data, sent.header("Host"), "abc.:/@", "host"))
            assume(changed.header("Host") != sent.header("Host"))

    assert isinstance(check(changed), Refusal)


def as_text(latin1):
    return latin1.encode("latin-1").decode()


def normal(authorization):
    """Blanks around the parts of the header mean nothing."""
    algorithm, _, parameters = authorization.strip().partition(" ")
    return [algorithm, *(parameter.strip() for parameter in parameters.split(","))]


SIGNED = r"SignedHeaders=[^,]+"


@pytest.mark.parametrize(
    ("change", "fault", "message"),
    [
        (
            lambda sent: sent.with_header("Authorization", None),
            Fault.MISSING_AUTHENTICATION_TOKEN,
            r"Missing Authentication Token",
        ),
        (
            lambda sent: sent.with_header("Authorization", "Basic dXNlcjpw"),
            Fault.INCOMPLETE_SIGNATURE,
            r"(Authorization header requires '(Credential|Signature|SignedHeaders)' parameter\.( |$)){3}",
        ),
        (
            lambda sent: sent.with_authorization("^AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
            Fault.INCOMPLETE_SIGNATURE,
            r"Unsupported AWS 'algorithm': 'AWS4-ECDSA-P256-SHA256' .*",
        ),
        (
            lambda sent: sent.with_authorization("$", ", Signature=00"),
            Fault.INCOMPLETE_SIGNATURE,
            r"Authorization header has a parameter too many\.",
        ),
        (
            lambda sent: sent.with_authorization("/aws4_request", ""),
            Fault.INCOMPLETE_SIGNATURE,
            r"Credential must have exactly 5 slash-delimited elements.*",
        ),
        (
            lambda sent: sent._replace(target="/v1/orders?X-Amz-Signature=00"),
            Fault.INCOMPLETE_SIGNATURE,
            r"A signature in the query string is not supported here.*",
        ),
        (
            lambda sent: sent.with_header("X-Amz-Date", None),
            Fault.INCOMPLETE_SIGNATURE,
            r".*requires existence of a 'X-Amz-Date' header\.",
        ),
        *(
            (
                lambda sent, date=date: sent.with_header("X-Amz-Date", date),
                Fault.INCOMPLETE_SIGNATURE,
                r"Date must be in ISO-8601 'basic format'\. Got '.*'\.",
            )
            for date in ("Tue, 24 Nov 2026 06:00:00 GMT", "20261324T000000Z", "2026112T060000Z", "")
        ),
        (
            lambda sent: sent._replace(headers=(*sent.headers, ("x-amz-date", sent.header("X-Amz-Date")))),
            Fault.INCOMPLETE_SIGNATURE,
            r"The header 'x-amz-date' is there more than once\.",
        ),
        (
            lambda sent: sent.with_authorization(SIGNED, "SignedHeaders=x-amz-date"),
            Fault.SIGNATURE_DOES_NOT_MATCH,
            r"'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization\.",
        ),
        (
            lambda sent: sent.with_header("X-Amz-Target", "AWSEvents.PutEvents"),
            Fault.SIGNATURE_DOES_NOT_MATCH,
            r"SignedHeaders must name every 'x-amz-' header.*",
        ),
        (
            lambda sent: sent.with_authorization("/eu-west-1/execute-api/", "/us-east-1/sqs/"),
            Fault.SIGNATURE_DOES_NOT_MATCH,
            r"Credential should be .* region, not 'us-east-1'\. Credential should be .* service: 'execute-api'\.",
        ),
        (
            lambda sent: sent.with_authorization("/aws4_request", "/aws5_request"),
            Fault.SIGNATURE_DOES_NOT_MATCH,
            r"Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5_request'\.",
        ),
        (
            lambda sent: sent.with_authorization(r"/\d{8}/", "/20200101/"),
            Fault.SIGNATURE_DOES_NOT_MATCH,
            r"Date in Credential scope does not match YYYYMMDD .*: '20200101' != '\d{8}', from '\d{8}T\d{6}Z'\.",
        ),
        (
            lambda sent: sent.with_authorization("AKIDCLIENT", "AKIDNOBODY"),
            Fault.UNRECOGNIZED_CLIENT,
            r"The security token included in the request is invalid\.",
        ),
        (
            lambda sent: sent.with_authorization("AKIDCLIENT", "AKIDOTHER"),
            Fault.SIGNATURE_DOES_NOT_MATCH,
            r"The request signature we calculated does not match the signature you provided\. .*",
        ),
        (
            lambda sent: sent._replace(body=b"{} "),
            Fault.SIGNATURE_DOES_NOT_MATCH,
            r"The request signature we calculated does not match the signature you provided\. .*",
        ),
        (
            lambda sent: sent.with_authorization("Signature=[0-9a-f]", "Signature=é"),
            Fault.SIGNATURE_DOES_NOT_MATCH,
            r"The request signature we calculated does not match the signature you provided\. .*",
        ),
    ],
)
def test_a_refusal_says_what_is_wrong(change, fault, message):
    refusal = check(change(sign()))

    assert (refusal.fault, refusal.status) == (fault, 403)
    assert re.fullmatch(message, refusal.message, re.DOTALL), refusal.message


def test_the_names_of_faults_are_those_of_aws():
    assert {fault.json_name: fault.query_name for fault in Fault} == {
        "MissingAuthenticationTokenException": "MissingAuthenticationToken",
        "IncompleteSignatureException": "IncompleteSignature",
        "UnrecognizedClientException": "InvalidClientTokenId",
        "ExpiredTokenException": "ExpiredToken",
        "InvalidSignatureException": "SignatureDoesNotMatch",
    }


def test_the_declared_digest_of_the_body_has_to_be_right():
    digest = hashlib.sha256(b"{}").hexdigest()
    assert check(sign(headers={"X-Amz-Content-SHA256": digest})) == "client"
    for wrong in ("UNSIGNED-PAYLOAD", hashlib.sha256(b"").hexdigest(), digest.upper()):
        refusal = check(sign(headers={"X-Amz-Content-SHA256": wrong}))
        assert refusal.message == "The value of 'x-amz-content-sha256' is not the SHA-256 of the body."
        assert refusal.fault is Fault.SIGNATURE_DOES_NOT_MATCH


@pytest.mark.parametrize(
    ("key", "token"), [("ASIASESSION", None), ("ASIASESSION", "another"), ("AKIDCLIENT", TOKEN), ("AKIDCLIENT", "")]
)
def test_a_session_token_is_the_keys_own(key, token):
    sent = sign(key=key, token=token or None, headers={"X-Amz-Security-Token": token} if token == "" else ())
    refusal = check(sent)

    if token == "":  # no token at all, as far as anybody can tell
        assert refusal == "client"
    else:
        assert refusal.fault is Fault.UNRECOGNIZED_CLIENT
        assert refusal.message == "The security token included in the request is invalid."


def test_a_session_token_that_is_not_signed_is_refused():
    refusal = check(sign(key="ASIASESSION").with_header("X-Amz-Security-Token", TOKEN))

    assert refusal.message.startswith("SignedHeaders must name every 'x-amz-' header")


def test_an_expired_session_is_refused():
    refusal = check(sign(key="ASIAEXPIRED", token=TOKEN))

    assert (refusal.fault, refusal.message) == (
        Fault.EXPIRED_TOKEN,
        "The security token included in the request is expired",
    )


def test_a_presigned_request_is_refused_with_its_reason():
    request = AWSRequest(method="GET", url="http://localhost:4566/v1/orders/1")
    SigV4QueryAuth(Credentials("AKIDCLIENT", SECRET), SERVICE, REGION).add_auth(request)
    refusal = check(arriving(request.prepare()))

    assert refusal.fault is Fault.INCOMPLETE_SIGNATURE
    assert "query string is not supported" in refusal.message


@pytest.mark.parametrize("target", ["/v1/orders#x", "/v1/\torders", "/v1/orders\n", "/v1/ørders", "v1/orders", "*", ""])
def test_a_request_line_that_urls_would_be_silent_about_is_refused(target):
    refusal = check(sign("/v1/orders")._replace(target=target))

    assert refusal.message == "The request line holds what no client sends."


def test_a_repeated_header_is_signed_as_a_whole():
    sent = sign(headers={"X-Note": "a,b"})
    split = sent.with_header("X-Note", None)
    assert check(split._replace(headers=(*split.headers, ("X-Note", "a"), ("x-note", "b")))) == "client"
    assert isinstance(check(split._replace(headers=(*split.headers, ("X-Note", "b"), ("x-note", "a")))), Refusal)


def test_a_signed_header_that_is_not_utf8_is_refused():
    refusal = check(sign(headers={"X-Note": "é"}).with_header("X-Note", "\xe9"))

    assert refusal.message == "The header 'x-note' is not UTF-8."


def test_no_secret_shows():
    shown = Counter(map(repr, [*KEYS.values(), check(sign(secret="wrong")), check(sign(key="ASIASESSION"))]))

    assert len(shown) == 6
    assert not any(secret in text for text in shown for secret in (SECRET, OTHER_SECRET, TOKEN))
