"""The deployed API keeps to its own OpenAPI document, whoever asks and whatever they send.

The document is the one that the local cloud's gateway serves. Schemathesis makes requests from it: right ones, wrong
ones and those at the edges of what is right, the same in each run.
"""

from __future__ import annotations

import json
from collections import Counter

import pytest
import requests
import schemathesis
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.sandbox.conftest import CARRIERS, REGION, SILENT

PLACE, READ, CONFIRM = ("/orders", "POST"), ("/orders/{order_id}", "GET"), ("/confirm-shipment", "POST")
KEEPS_TO_ITS_DOCUMENT = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
EXAMPLES = 25  # right ones, and as many wrong ones, beside those at the edges, of which there are up to 80
TIMEOUT = 35  # seconds; the gateway itself gives up after 29
BOTH = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)


def to_nobody(body):
    """Orders go to the carrier that nobody is behind: what becomes of them is no matter here, and takes time."""
    if isinstance(body, dict) and body.get("carrier") in CARRIERS:
        body["carrier"] = SILENT


class Signed(requests.auth.AuthBase):
    """Signs what is sent, in the name of whom the credentials are."""

    def __init__(self, credentials):
        self._credentials = credentials

    def __call__(self, request):
        content_type = {name: value for name, value in request.headers.items() if name.lower() == "content-type"}
        signed = AWSRequest(request.method, request.url, data=request.body or b"", headers=content_type)
        SigV4Auth(self._credentials, "execute-api", REGION).add_auth(signed)
        request.headers.update(signed.headers.items())
        return request


class Api:
    """The deployed API by its document."""

    def __init__(self, url, document, http):
        self._url, self._http = url, http
        # A configuration of its own, so that no file of whoever runs this has a say.
        self._schema = schemathesis.openapi.from_dict(document, config=schemathesis.Config())
        self._generation = self._schema.config.generation
        self._generation.with_security_parameters = False  # `auth` says who calls

    def call(self, case, auth):
        """The answer, which has been compared with the document."""
        answer = case.call(base_url=self._url, session=self._http, auth=auth, timeout=TIMEOUT)
        case.validate_response(answer, checks=KEEPS_TO_ITS_DOCUMENT)
        # Schemathesis itself lets any status pass for another method or content type than the document's.
        assert str(answer.status_code) in map(str, case.operation.responses.status_codes), answer.status_code
        return answer

    def fuzz(self, operation, auth, *, modes=BOTH, examples=EXAMPLES, **fixed):
        """How often each status came, and every request with its answer.

        `fixed` are parts of the generated requests, as `APIOperation.as_strategy` takes them.
        """
        path, method = operation
        tried = self._schema[path][method]
        answers = []

        def send(case):
            to_nobody(case.body)
            answers.append((case, self.call(case, auth)))

        for case in self._schema.iter_coverage_cases(
            tried, generation_modes=list(BOTH), generation_config=self._generation
        ):
            send(case)
        for mode in modes:
            every = settings(max_examples=examples, derandomize=True, database=None)
            every(given(case=tried.as_strategy(generation_mode=mode, **fixed))(send))()
        return Counter(answer.status_code for _, answer in answers), answers


@pytest.fixture(scope="module")
def document(cloud):
    """The OpenAPI document of the deployed API."""
    [deployed] = cloud.resources("aws:apigateway/restApi:RestApi", "body").values()
    return json.loads(deployed["body"])


@pytest.fixture(scope="module")
def api(cloud, document):
    with requests.Session() as http:
        http.trust_env = False  # a proxy's settings are not for 127.0.0.1
        yield Api(cloud.outputs["apiUrl"], document, http)


@pytest.fixture
def client(cloud):
    return Signed(cloud.client().credentials)


def test_the_document_has_the_operations_that_are_tried_here(document):
    deployed = {(path, method.upper()) for path, methods in document["paths"].items() for method in methods}

    assert deployed == {PLACE, READ, CONFIRM}


def test_orders_are_placed_as_the_document_says(cloud, api, client):
    statuses, answers = api.fuzz(PLACE, client)

    assert {201, 400, 409, 415} <= statuses.keys()
    placed = [(case, answer) for case, answer in answers if answer.status_code == 201]
    keyed = [(case, answer) for case, answer in placed if "Idempotency-Key" in case.headers]
    assert keyed
    for case, answer in keyed:
        again = api.call(case, client)
        assert (again.status_code, again.json()["order_id"]) == (200, answer.json()["order_id"])


def test_orders_are_read_as_the_document_says(cloud, api, client):
    order_id = cloud.client().place(carrier=SILENT)

    # Any text is a right one for a path, so there are no wrong ones.
    others, _ = api.fuzz(READ, client, modes=BOTH[:1])
    own, _ = api.fuzz(READ, client, modes=BOTH[:1], examples=5, path_parameters={"order_id": order_id})

    assert 404 in others
    assert 200 not in others
    assert 200 in own


@pytest.mark.parametrize("carrier", ["acme", SILENT])
def test_shipments_are_confirmed_as_the_document_says(cloud, api, carrier):
    statuses, _ = api.fuzz(CONFIRM, Signed(cloud.carrier(carrier).credentials))

    assert {202, 400, 415} <= statuses.keys()


@pytest.fixture(params=["nobody", "a forger", "the other side"])
def denied(request, cloud):
    """By operation, somebody who may not call it: without a signature, with a wrong one, or of the other side."""
    sides = {PLACE: cloud.carrier("acme"), READ: cloud.carrier("acme"), CONFIRM: cloud.client()}

    def of(operation):
        known = sides[operation].credentials
        if request.param == "nobody":
            return None
        if request.param == "a forger":
            return Signed(Credentials(known.access_key, "x" * len(known.secret_key), known.token))
        return Signed(known)

    return of


@pytest.mark.parametrize("operation", [PLACE, READ, CONFIRM], ids=["place", "read", "confirm"])
def test_who_may_not_call_is_told_so_as_the_document_says(cloud, api, denied, operation):
    before = cloud.orders().keys()
    modes = BOTH[:1] if operation == READ else BOTH

    statuses, _ = api.fuzz(operation, denied(operation), modes=modes, examples=10)

    assert statuses.keys() == {403}
    assert cloud.orders().keys() == before
