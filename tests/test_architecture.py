"""Imports go one way: `__main__ -> components -> contracts`, and the parts that run elsewhere know nothing of these."""

from __future__ import annotations

import ast

import pytest

from tests.graph import ROOT

OURS = {"components", "contracts", "handlers", "policy", "sandbox", "engine", "ops", "bench", "tests"}
MAY_IMPORT = {
    "contracts": set(),
    "handlers": {"contracts"},
    "components": {"contracts"},
    "policy": set(),
    "engine": set(),
    "sandbox": {"engine"},
    # Reads the orders and events that handlers write, by the rules of the handlers.
    "ops": {"contracts", "handlers", "sandbox"},
    "bench": {"components", "sandbox", "tests"},
}
# To `ops`, the local cloud is one more account: it has its credentials, and knows nothing of what plays AWS.
SEAM = {"sandbox.access", "sandbox.client"}
NEVER = {
    "ops": {"pulumi", "pulumi_aws", "pulumi_aws_native"},
    "policy": {"pulumi_aws", "pulumi_aws_native"},
    "handlers": {"pydantic", "aws_xray_sdk", "pulumi"},
}


def imported(folder, name_of=lambda module: module.partition(".")[0]):
    """Which files of a folder import what, by package or by what `name_of` makes of a module's name."""
    found = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                names = [node.module]
            for name in names:
                found.setdefault(name_of(name), set()).add(path.relative_to(ROOT).as_posix())
    return found


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_a_folder_imports_only_what_is_below_it(folder):
    found = imported(folder)
    assert found, f"{folder} holds no module"
    wrong = {name: places for name, places in found.items() if name in OURS - {folder} - MAY_IMPORT[folder]}
    assert wrong == {}


def test_who_operates_uses_of_the_local_cloud_only_what_is_meant_for_it():
    modules = {module for module in imported("ops", name_of=str) if module.partition(".")[0] == "sandbox"}
    assert modules == SEAM


def test_one_benchmark_reaches_into_the_tests_for_the_program_that_they_record():
    assert imported("bench")["tests"] == {"bench/samples/graph.py"}


@pytest.mark.parametrize("folder", NEVER)
def test_some_packages_stay_out(folder):
    found = imported(folder)
    assert found
    assert NEVER[folder].isdisjoint(found)


def test_the_program_itself_registers_nothing():
    calls = [
        n.func.id
        for n in ast.walk(ast.parse((ROOT / "__main__.py").read_text()))
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
    ]
    assert {"OrdersStore", "OrdersApi", "StreamPipe", "CarrierIntegration"} <= set(calls)
    assert "pulumi_aws" not in (ROOT / "__main__.py").read_text()
