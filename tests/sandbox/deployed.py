"""The recorded program as the local cloud's registry has it once it is deployed."""

from __future__ import annotations

from contextlib import contextmanager

from sandbox.gateway import Deployments
from sandbox.iam import Service
from sandbox.registry import Registry
from tests import graph

REGION, ACCOUNT = graph.REGION, graph.ACCOUNT
NAME = "event-gateway-local-"
LAMBDA = Service(name="lambda.amazonaws.com")
API = Service(name="apigateway.amazonaws.com")
PIPE = Service(
    name="pipes.amazonaws.com",
    source_arn=f"arn:aws:pipes:{REGION}:{ACCOUNT}:pipe/{NAME}orders-1234567",
    source_account=ACCOUNT,
)


def arn(service, resource):
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


def role(name):
    return f"arn:aws:iam::{ACCOUNT}:role/{NAME}{name}"


def deploy(program):
    """A registry with the recorded resources; they have what the providers would have filled in."""
    registry = Registry()
    for node in program.nodes.values():
        if node.type in graph.OUTPUTS:
            inputs = graph.plain(node.inputs)
            outputs = graph.OUTPUTS[node.type](node.name, inputs)
            registry.put(node.type, node.name, {"statementId": node.name, **inputs, **outputs})
    return registry


def apis(registry):
    """The policies of APIs, deployed as the registry has them at the moment of asking."""

    def policy(resource_arn):
        deployments = Deployments()
        if not registry.of("aws:apigateway/restApi:RestApi"):
            return None
        for type_ in ("restApi:RestApi", "deployment:Deployment", "stage:Stage"):
            for id_, properties in registry.of(f"aws:apigateway/{type_}").items():
                # The recorder's ids, by which its resources refer to each other.
                deployments.put(f"aws:apigateway/{type_}", properties.get("name", f"{id_}-id"), properties)
        return deployments.policy(resource_arn)

    return policy


def the_one(registry, type_, which):
    """The id and the properties of the resource that `which` is true of; fails when there are none or several."""
    [found] = [(id_, properties) for id_, properties in registry.of(type_).items() if which(properties)]
    return found


@contextmanager
def changed(registry, type_, which, **changes):
    """While the one resource that `which` is true of has these properties."""
    id_, properties = the_one(registry, type_, which)
    registry.put(type_, id_, {**properties, **changes})
    try:
        yield
    finally:
        registry.put(type_, id_, properties)


@contextmanager
def without(registry, type_, which):
    """While the one resource that `which` is true of is not deployed."""
    id_, properties = the_one(registry, type_, which)
    registry.remove(type_, id_)
    try:
        yield
    finally:
        registry.put(type_, id_, properties)


def named(role):
    """Recognises the resource with this physical name."""
    return lambda properties: properties["name"] == f"{NAME}{role}"


def grant(name, of):
    """Recognises one grant of a role."""
    return lambda properties: (properties["role"], properties["name"]) == (f"{NAME}{of}", name)


@contextmanager
def granted(registry, of, statement):
    """While a role has one more grant."""
    policy = {"Version": "2012-10-17", "Statement": statement}
    registry.put("aws:iam/rolePolicy:RolePolicy", "extra", {"name": "extra", "role": f"{NAME}{of}", "policy": policy})
    try:
        yield
    finally:
        registry.remove("aws:iam/rolePolicy:RolePolicy", "extra")
