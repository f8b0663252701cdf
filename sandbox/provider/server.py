# ruff: noqa: ARG002, N802 - names and arguments of the methods are the protocol's
"""The provider's side of the engine's protocol, for any table of types."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from importlib import metadata
from typing import Any, NoReturn

import grpc
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from sandbox.provider import aws, aws_native
from sandbox.provider.changes import changes
from sandbox.provider.kind import Failure, Kind, Made, Place
from sandbox.provider.values import DEFAULTS, UNKNOWN, plain, public, read, write
from sandbox.provider.world import World, WorldError

HOST = "127.0.0.1"
Invoke = Callable[[Mapping[str, Any], Place], dict[str, Any]]

# A whole OpenAPI document is one property; the engine's own limit is 400 MB.
_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)]
# More than the engine's default of parallel operations, so that none waits here.
_THREADS = 16
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
# Provider settings that make no difference where there is no account.
_IGNORED_SETTINGS = {
    "allowedAccountIds",
    "profile",
    "skipCredentialsValidation",
    "skipGetEc2Platforms",
    "skipMetadataApiCheck",
    "skipRegionValidation",
}


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """One package's provider.

    The engine opens one connection per provider of its program, and configures each: the place where a request is to
    be served is that of its connection.
    """

    def __init__(
        self, package: str, version: str, kinds: Mapping[str, Kind], invokes: Mapping[str, Invoke], world: World
    ) -> None:
        self._package = package
        self._version = version
        self._kinds = kinds
        self._invokes = invokes
        self._world = world
        self._places: dict[str, Place] = {}

    def Handshake(
        self, request: provider_pb2.ProviderHandshakeRequest, context: grpc.ServicerContext
    ) -> provider_pb2.ProviderHandshakeResponse:
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True, supports_autonaming_configuration=True)

    def Attach(self, request: plugin_pb2.PluginAttach, context: grpc.ServicerContext) -> Empty:
        return Empty()

    def GetPluginInfo(self, request: Empty, context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:
        return plugin_pb2.PluginInfo(version=self._version)

    def CheckConfig(
        self, request: provider_pb2.CheckRequest, context: grpc.ServicerContext
    ) -> provider_pb2.CheckResponse:
        settings = read(request.news)
        failures = [
            Failure((name,), f"is not a setting of {self._package} that the local providers know")
            for name in settings.keys() - _IGNORED_SETTINGS - {"region", "version"}
        ]
        region = plain(settings.get("region"))
        if region is None:
            failures.append(Failure(("region",), f"is missing: `pulumi config set {self._package}:region <region>`"))
        elif region is not UNKNOWN and not (isinstance(region, str) and _REGION.fullmatch(region)):
            failures.append(Failure(("region",), "must be the name of a region"))
        return _checked(settings, failures)

    def DiffConfig(self, request: provider_pb2.DiffRequest, context: grpc.ServicerContext) -> provider_pb2.DiffResponse:
        # What a provider has made is in its region: with another one, it is another provider.
        return _difference(read(request.old_inputs), read(request.news), {("region",)})

    def Configure(
        self, request: provider_pb2.ConfigureRequest, context: grpc.ServicerContext
    ) -> provider_pb2.ConfigureResponse:
        self._places[context.peer()] = Place(region=plain(read(request.args)["region"]))
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True, supportsPreview=True, supports_autonaming_configuration=True
        )

    def Check(self, request: provider_pb2.CheckRequest, context: grpc.ServicerContext) -> provider_pb2.CheckResponse:
        kind = self._kinds.get(request.type)
        if kind is None:
            return _checked({}, [Failure((), f"the local providers do not know the type {request.type}")])
        given = public(read(request.news))
        inputs = _named(kind, given, read(request.olds), request)
        failures = list(kind.rules.failures(inputs))
        if failures:
            return _checked(inputs, failures)
        completed = kind.rules.completed(inputs)
        if DEFAULTS in completed:
            completed[DEFAULTS] = sorted({*completed[DEFAULTS], *(inputs.keys() - given.keys())})
        return _checked(completed, ())

    def Diff(self, request: provider_pb2.DiffRequest, context: grpc.ServicerContext) -> provider_pb2.DiffResponse:
        kind = self._kind(request.type, context)
        return _difference(public(read(request.old_inputs)), public(read(request.news)), kind.rules.create_only)

    def Create(self, request: provider_pb2.CreateRequest, context: grpc.ServicerContext) -> provider_pb2.CreateResponse:
        kind, inputs = self._kind(request.type, context), public(read(request.properties))
        if request.preview:
            return provider_pb2.CreateResponse(properties=write(kind.plan(inputs)))
        id_, outputs = kind.create(inputs, self._place(context))
        outputs |= self._put(request.type, id_, outputs, None, context)
        return provider_pb2.CreateResponse(id=id_, properties=write(outputs))

    def Read(self, request: provider_pb2.ReadRequest, context: grpc.ServicerContext) -> provider_pb2.ReadResponse:
        kind, state = self._kind(request.type, context), read(request.properties)
        if not state:
            _refuse(context, f"{request.type} {request.id} is not in the stack: there is nothing here to import")
        outputs = kind.read(Made(public(read(request.inputs)), self._place(context), request.id), state)
        return provider_pb2.ReadResponse(id=request.id, properties=write(outputs), inputs=request.inputs)

    def Update(self, request: provider_pb2.UpdateRequest, context: grpc.ServicerContext) -> provider_pb2.UpdateResponse:
        kind, state = self._kind(request.type, context), read(request.olds)
        inputs = public(read(request.news))
        if request.preview:
            return provider_pb2.UpdateResponse(properties=write(kind.plan(inputs, state)))
        outputs = kind.update(Made(inputs, self._place(context), request.id), state)
        outputs |= self._put(request.type, request.id, outputs, state, context)
        return provider_pb2.UpdateResponse(properties=write(outputs))

    def Delete(self, request: provider_pb2.DeleteRequest, context: grpc.ServicerContext) -> Empty:
        kind = self._kind(request.type, context)
        kind.delete(Made(public(read(request.old_inputs)), self._place(context), request.id))
        try:
            self._world.remove(request.type, request.id, public(read(request.properties)))
        except WorldError as error:
            _refuse(context, str(error))
        return Empty()

    def Invoke(self, request: provider_pb2.InvokeRequest, context: grpc.ServicerContext) -> provider_pb2.InvokeResponse:
        invoke = self._invokes.get(request.tok)
        if invoke is None:
            _refuse(context, f"the local providers do not know the function {request.tok}")
        arguments = read(request.args)
        if arguments:
            _refuse(context, f"{request.tok} takes no {', '.join(sorted(arguments))} here")
        response = provider_pb2.InvokeResponse()
        # The field's name is a word of Python.
        getattr(response, "return").CopyFrom(write(invoke(arguments, self._place(context))))
        return response

    def Cancel(self, request: Empty, context: grpc.ServicerContext) -> Empty:
        return Empty()

    def _put(
        self,
        type_: str,
        id_: str,
        outputs: Mapping[str, Any],
        state: Mapping[str, Any] | None,
        context: grpc.ServicerContext,
    ) -> Mapping[str, Any]:
        try:
            return self._world.put(type_, id_, outputs, state and public(state))
        except WorldError as error:
            _refuse(context, str(error))

    def _kind(self, type_: str, context: grpc.ServicerContext) -> Kind:
        return self._kinds.get(type_) or _refuse(context, f"the local providers do not know the type {type_}")

    def _place(self, context: grpc.ServicerContext) -> Place:
        return self._places.get(context.peer()) or _refuse(context, f"{self._package} is not configured")


@contextmanager
def serve(world: World | None = None) -> Generator[dict[str, int]]:
    """Serve both packages, each on a free port of 127.0.0.1; yields the ports by package.

    What they make, they make in `world`; without one, resources are recorded only.
    """
    world = world or World()
    packages = {
        "aws": Provider("aws", metadata.version("pulumi-aws"), aws.KINDS, aws.INVOKES, world),
        "aws-native": Provider("aws-native", metadata.version("pulumi-aws-native"), aws_native.KINDS, {}, world),
    }
    with ThreadPoolExecutor(_THREADS, "provider") as threads, ExitStack() as stack:
        ports: dict[str, int] = {}
        for package, provider in packages.items():
            server = grpc.server(threads, options=_OPTIONS)
            provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)
            ports[package] = server.add_insecure_port(f"{HOST}:0")
            server.start()
            stack.callback(_stop, server)
        yield ports


def _stop(server: grpc.Server) -> None:
    server.stop(None).wait()


def _refuse(context: grpc.ServicerContext, message: str) -> NoReturn:
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, message)


def _named(
    kind: Kind, inputs: dict[str, Any], olds: Mapping[str, Any], request: provider_pb2.CheckRequest
) -> dict[str, Any]:
    """The inputs with a name, if the kind has one made up: the one it has already, else the engine's proposal."""
    naming = kind.naming
    if naming is None or naming.input in inputs:
        return inputs
    proposal = request.autonaming if request.HasField("autonaming") else None
    if proposal and proposal.mode == provider_pb2.CheckRequest.AutonamingOptions.DISABLE:
        return inputs
    made_up = proposal.proposed_name if proposal else naming.name(request.name, request.randomSeed)
    return {**inputs, naming.input: olds.get(naming.input, made_up)}


def _checked(inputs: Mapping[str, Any], failures: Iterable[Failure]) -> provider_pb2.CheckResponse:
    found = [provider_pb2.CheckFailure(property=failure.where, reason=failure.reason) for failure in failures]
    return provider_pb2.CheckResponse(inputs=write(inputs), failures=found)


def _difference(
    old: Mapping[str, Any], new: Mapping[str, Any], create_only: Collection[tuple[str, ...]]
) -> provider_pb2.DiffResponse:
    found = list(changes(old, new))
    replacing = {change for change in found if change.replaces(create_only)}
    kinds = provider_pb2.PropertyDiff.Kind
    detailed = {
        change.where: provider_pb2.PropertyDiff(
            kind=kinds.Value(f"{change.how.value}_REPLACE" if change in replacing else change.how.value),
            inputDiff=True,
        )
        for change in found
    }
    return provider_pb2.DiffResponse(
        changes=provider_pb2.DiffResponse.DIFF_SOME if found else provider_pb2.DiffResponse.DIFF_NONE,
        diffs=sorted({change.input for change in found}),
        replaces=sorted({change.input for change in replacing}),
        detailedDiff=detailed,
        hasDetailedDiff=True,
    )
