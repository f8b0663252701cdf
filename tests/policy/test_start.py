"""How the pack starts, what it needs for that, and that it speaks of things that exist."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args, get_origin

import grpc
import pytest
import yaml
from botocore.session import get_session
from google.protobuf import empty_pb2, json_format, struct_pb2
from pulumi import _types
from pulumi.runtime import proto
from pulumi.runtime.proto import analyzer_pb2_grpc
from pulumi_aws import cloudwatch
from pulumi_aws_native import events as native

from policy import pack
from policy.rules import destinations
from tests.policy.cases.destinations import (
    CANARY,
    CLASSIC_CONNECTION,
    CLASSIC_DESTINATION,
    NATIVE_CONNECTION,
    NATIVE_DESTINATION,
)

PACK = Path(pack.__file__).parent
# Modules whose names are words of Python.
SPELLED = {"lambda": "lambda_"}
SDK = {
    CLASSIC_CONNECTION: (cloudwatch.EventConnection, cloudwatch.EventConnectionArgs),
    CLASSIC_DESTINATION: (cloudwatch.EventApiDestination, cloudwatch.EventApiDestinationArgs),
    NATIVE_CONNECTION: (native.Connection, native.ConnectionArgs),
    NATIVE_DESTINATION: (native.ApiDestination, native.ApiDestinationArgs),
}


@pytest.mark.parametrize("type_", sorted(set().union(*(rule.types for rule in pack.RULES))))
def test_each_type_that_a_rule_is_about_is_a_class_of_an_sdk(type_: str):
    package, module, name = type_.split(":")
    module = module.partition("/")[0]
    sdk = importlib.import_module(f"{package.replace('-', '_').join(('pulumi_', ''))}.{SPELLED.get(module, module)}")
    assert getattr(sdk, name).pulumi_type == type_


def _leaves(args: type, at: str = "") -> Iterator[str]:
    names = _types.input_type_py_to_pulumi_names(args)
    for name, hint in _types.input_type_types(args).items():
        place, inner = f"{at}.{names.get(name, name)}".removeprefix("."), hint
        while not isinstance(inner, type):
            if get_origin(inner) is Sequence:
                place += "[]"
            inner = next(argument for argument in get_args(inner) if argument is not type(None))
        yield from _leaves(inner, place) if _types.is_input_type(inner) else [place]


@pytest.mark.parametrize("type_", [CLASSIC_DESTINATION, NATIVE_DESTINATION])
def test_the_rate_limit_is_a_property_of_the_sdks_type(type_: str):
    assert destinations.RATE_LIMIT in set(_leaves(SDK[type_][1]))


def _read(type_: str) -> set[str]:
    where = destinations.CONNECTIONS[type_]
    return {*where.by_authorization.values(), *(f"{parameters}[].value" for parameters in where.parameters)}


@pytest.mark.parametrize("type_", [CLASSIC_CONNECTION, NATIVE_CONNECTION])
def test_every_credential_and_every_flag_that_a_rule_reads_is_a_property_of_the_sdks_type(type_: str):
    flags = {f"{parameters}[].isValueSecret" for parameters in destinations.CONNECTIONS[type_].parameters}
    assert _read(type_) | flags | {"authorizationType"} <= set(_leaves(SDK[type_][1]))


def _sensitive(shape: Any, at: str = "") -> Iterator[str]:
    if shape.metadata.get("sensitive"):
        yield at
    elif shape.type_name == "structure":
        for name, member in shape.members.items():
            yield from _sensitive(member, f"{at}.{name}".removeprefix("."))
    elif shape.type_name == "list":
        yield from _sensitive(shape.member, f"{at}[]")


def test_what_aws_calls_sensitive_in_a_connection_is_what_the_rule_reads():
    model = get_session().get_service_model("events")
    sensitive = {place.lower() for place in _sensitive(model.operation_model("CreateConnection").input_shape)}
    assert sensitive == {place.lower() for place in _read(NATIVE_CONNECTION)}
    assert len(_read(CLASSIC_CONNECTION)) == len(sensitive)


def test_the_authorization_types_are_those_of_aws():
    shape = get_session().get_service_model("events").shape_for("ConnectionAuthorizationType")
    for where in destinations.CONNECTIONS.values():
        assert set(where.by_authorization) == set(shape.enum)


def _imported(code: str) -> set[str]:
    program = f"import sys; {code}; print('\\n'.join(sys.modules))"
    run = subprocess.run([sys.executable, "-c", program], cwd=PACK.parent, capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in run.stdout.split()}


def test_the_pack_imports_pulumi_the_standard_library_and_itself():
    more = _imported("import policy.pack") - _imported("import pulumi_policy")
    assert more - set(sys.stdlib_module_names) == {"policy"}


def test_the_pack_never_imports_the_providers_sdk():
    assert not {name for name in _imported("import policy.pack") if name.startswith("pulumi_aws")}


@contextmanager
def started(run: Path, environment: dict[str, str] | None = None) -> Iterator[analyzer_pb2_grpc.AnalyzerStub]:
    """The pack as the engine starts it: an executable that is given an address and prints a port."""
    process = subprocess.Popen(
        [run, "127.0.0.1:1"],
        cwd="/",  # the engine starts it in the folder of the program, which may be anywhere
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "VIRTUAL_ENV": sys.prefix, **(environment or {})},
    )
    try:
        assert process.stdout
        port = process.stdout.readline().strip()
        assert port, process.stderr and process.stderr.read()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield analyzer_pb2_grpc.AnalyzerStub(channel)
    finally:
        process.terminate()
        process.communicate(timeout=10)


def _refuses_a_literal(stub: analyzer_pb2_grpc.AnalyzerStub) -> bool:
    inputs = struct_pb2.Struct()
    json_format.ParseDict(
        {"authorizationType": "API_KEY", "authParameters": {"apiKey": {"key": "x-api-key", "value": CANARY}}}, inputs
    )
    request = proto.AnalyzeRequest(type=CLASSIC_CONNECTION, urn="urn:pulumi:s::p::t::n", name="n", properties=inputs)
    assert not stub.Remediate(request).remediations
    response = stub.Analyze(request)
    assert CANARY not in str(response)
    return [diagnostic.enforcementLevel for diagnostic in response.diagnostics] == [proto.MANDATORY]


def test_the_pack_starts_as_an_executable_and_tells_its_rules():
    with started(PACK / "run") as stub:
        info = stub.GetAnalyzerInfo(empty_pb2.Empty())
        assert info.name == yaml.safe_load((PACK / "PulumiPolicy.yaml").read_text())["name"]
        assert [policy.name for policy in info.policies] == [*(rule.name for rule in pack.RULES), "waivers"]
        assert all(policy.severity and policy.framework.reference and policy.url for policy in info.policies[:-1])
        assert _refuses_a_literal(stub)


def test_the_pack_starts_from_a_directory_of_any_name(tmp_path: Path):
    elsewhere = shutil.copytree(PACK, tmp_path / "event-gateway-0.1.0", ignore=shutil.ignore_patterns("__pycache__"))
    with started(elsewhere / "run") as stub:
        assert _refuses_a_literal(stub)


def _elsewhere(tmp_path: Path) -> Path:
    return shutil.copytree(PACK, tmp_path / "policy", ignore=shutil.ignore_patterns("__pycache__"))


def _python(program: Path, options: str = "") -> str:
    """A Python of that name, and the folder it is in."""
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {options} "$@"\n')
    program.chmod(0o755)
    return str(program.parent)


def test_the_active_virtual_environment_comes_first(tmp_path: Path):
    _python(tmp_path / "active" / "bin" / "python")
    with started(_elsewhere(tmp_path) / "run", {"VIRTUAL_ENV": f"{tmp_path}/active", "PATH": "/usr/bin:/bin"}) as stub:
        assert _refuses_a_literal(stub)


def test_then_the_one_beside_the_pack(tmp_path: Path):
    _python(tmp_path / ".venv" / "bin" / "python")
    with started(_elsewhere(tmp_path) / "run", {"VIRTUAL_ENV": "", "PATH": "/usr/bin:/bin"}) as stub:
        assert _refuses_a_literal(stub)


def test_then_the_python_of_the_path_and_none_without_the_sdk(tmp_path: Path):
    _python(tmp_path / "active" / "bin" / "python", "-S")
    found = _python(tmp_path / "bin" / "python3")
    environment = {"VIRTUAL_ENV": f"{tmp_path}/active", "PATH": f"{found}:/usr/bin:/bin"}
    with started(_elsewhere(tmp_path) / "run", environment) as stub:
        assert _refuses_a_literal(stub)


def test_without_the_sdk_one_sentence_says_what_to_do(tmp_path: Path):
    pack_folder = _elsewhere(tmp_path)
    run = subprocess.run(
        [pack_folder / "run", "127.0.0.1:1"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": f"{_python(tmp_path / 'bin' / 'python3', '-S')}:/usr/bin:/bin"},
    )
    assert run.returncode == 1
    assert run.stdout == ""
    assert run.stderr == (
        "The policy pack needs Python with pulumi-policy: run `python3 -m pip install --requirement "
        f"{pack_folder}/requirements.txt` or activate the virtual environment that has it.\n"
    )


def test_the_official_language_host_finds_the_same_environment():
    project = yaml.safe_load((PACK / "PulumiPolicy.yaml").read_text())
    assert project["runtime"] == {"name": "python", "options": {"virtualenv": "../.venv"}}
    assert os.access(PACK / "run", os.X_OK)
