"""`POST /orders` and `GET /orders/{order_id}` behind API Gateway's Lambda proxy integration.

Environment: TABLE_NAME; CARRIERS, a JSON list of the carriers an order may choose, the default first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Never
from uuid import uuid4

import fastjsonschema
from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response, content_types
from aws_lambda_powertools.event_handler.exceptions import BadRequestError, NotFoundError, ServiceError
from aws_lambda_powertools.utilities.typing import LambdaContext

from contracts import new_order_schema
from contracts.principals import stable_caller
from handlers import orders
from handlers.orders import KeyReused, Placed, Replayed
from handlers.repository import Repository
from handlers.request import KEY_RULE, MalformedBodyError, content, is_json, is_key, parse
from handlers.runtime import setting
from handlers.telemetry import Count, count, invocation, logger

# Bytes of UTF-8, far below what an item of DynamoDB (400 KB) and an event may have.
_BODY_LIMIT = 65_536
_FIELD_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def _carriers() -> list[str]:
    try:
        carriers = json.loads(setting("CARRIERS"))
    except ValueError as error:
        raise RuntimeError("the environment variable CARRIERS is not JSON") from error
    if not isinstance(carriers, list) or not carriers or not all(isinstance(name, str) and name for name in carriers):
        raise RuntimeError("the environment variable CARRIERS must be a JSON list of at least one carrier's name")
    return carriers


_CARRIERS = _carriers()
_check_new_order: Callable[..., Any] = fastjsonschema.compile(new_order_schema(_CARRIERS))
_store = Repository(setting("TABLE_NAME"))
# Said here so that POWERTOOLS_DEV can't make it print whole events, or answer with a traceback.
_app = APIGatewayRestResolver(debug=False)


@invocation
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answers each request with a document of the contract: an order, or a message with the id of the request."""
    return _app.resolve(event, context)


@_app.post("/orders")
def place_order() -> Response[Any]:
    key = _header("Idempotency-Key")
    if key is not None and not is_key(key):
        raise BadRequestError(KEY_RULE)
    wanted = orders.place(
        client=_client(),
        key=key,
        body=_new_order(),
        default_carrier=_CARRIERS[0],
        placed_at=datetime.now(UTC),
        random_id=uuid4(),
    )
    logger.append_keys(order_id=wanted.order_id)
    match orders.placement(wanted=wanted, stored=_store.create(wanted)):
        case Placed(order):
            count(Count.PLACED)
            logger.info("Order placed", carrier=order.carrier)
            return _json(HTTPStatus.CREATED, order.view())
        case Replayed(order):
            count(Count.REPLAYED)
            logger.info("Order replayed", state=order.state)
            return _json(HTTPStatus.OK, order.view())
        case KeyReused(reason):
            raise ServiceError(HTTPStatus.CONFLICT, reason)


@_app.get("/orders/<order_id>")
def read_order(order_id: str) -> Response[Any]:
    if not orders.is_order_id(order_id):
        raise NotFoundError("There is no such order")
    logger.append_keys(order_id=order_id)
    client, order = _client(), _store.read(order_id)
    # Another client's order looks like none at all, or ids could be probed.
    if order is None or order.client != client:
        raise NotFoundError("There is no such order")
    logger.info("Order read", state=order.state)
    return _json(HTTPStatus.OK, order.view())


@_app.exception_handler(ServiceError)
def _refuse(error: ServiceError) -> Response[Any]:
    logger.info("Request refused", status=int(error.status_code), reason=error.msg)
    return _message(error.status_code, str(error.msg))


@_app.exception_handler(Exception)
def _fail(error: Exception) -> Response[Any]:
    logger.exception("Request failed", exc_info=error)
    return _message(HTTPStatus.INTERNAL_SERVER_ERROR, "The request could not be served")


def _client() -> str:
    caller = _app.current_event.request_context.identity.user_arn
    if not caller:
        raise RuntimeError("the request has no IAM caller: is the method authorized with AWS_IAM?")
    return stable_caller(caller)


def _header(name: str) -> str | None:
    event = _app.current_event
    values = event.multi_value_headers.get(name) or [value for value in [event.headers.get(name)] if value is not None]
    if len(values) > 1:
        raise BadRequestError(f"{name} must be sent once")
    return values[0] if values else None


def _new_order() -> dict[str, Any]:
    event = _app.current_event
    try:
        body = content(event.body, base64_encoded=bool(event.is_base64_encoded))
        if not body:
            return {}
        if not is_json(_header("Content-Type")):
            raise ServiceError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Content-Type must be application/json")
        if len(body) > _BODY_LIMIT:
            raise ServiceError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body must not exceed {_BODY_LIMIT} bytes")
        return _check_new_order(parse(body), name_prefix="body")
    except MalformedBodyError as error:
        raise BadRequestError(f"The body {error}") from error
    except fastjsonschema.JsonSchemaValueException as error:
        _refuse_body(error)


def _refuse_body(error: Any) -> Never:
    """Name the field and the rule; of what was sent only a name that is one."""
    if error.rule != "additionalProperties":
        raise BadRequestError(error.message)
    unknown = min(error.value.keys() - error.definition["properties"].keys())
    field = unknown if _FIELD_NAME.fullmatch(unknown) else "other fields"
    raise BadRequestError(f"{error.name} must not contain {field}")


def _message(status: int, message: str) -> Response[Any]:
    return _json(status, {"message": message, "request_id": _app.current_event.request_context.request_id})


def _json(status: int, document: dict[str, Any]) -> Response[Any]:
    return Response(status_code=int(status), content_type=content_types.APPLICATION_JSON, body=document)
