"""What is installed may be used here: the licence of every locked distribution is one that is known and named."""

from __future__ import annotations

import re
from email.message import Message
from importlib import metadata

import pytest

from tests.graph import ROOT

# Permissive: to be named in a copy, and nothing else. By the identifiers of SPDX.
PERMISSIVE = {
    "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "CNRI-Python", "ISC", "MIT", "MIT-0", "PSF-2.0",
}  # fmt: skip
# Everything else, by distribution: which licence, and why it may be here.
EXCEPTIONS = {
    "certifi": ("MPL-2.0", "requests needs it, for tools and tests only; its files are used as they are published"),
    "hypothesis": ("MPL-2.0", "tests only: nothing that is deployed has it, and its files are not changed"),
}
# How distributions write it that do not use SPDX.
SPELLINGS = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
LOCKS = ("requirements.txt", "requirements-dev.txt", "policy/requirements.txt")


def locked(text):
    """The distributions that a lock has, and whether this machine is one of those that need it."""
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==\S+( ;[^\\\n]*)?", text, re.MULTILINE))


def licences(found):
    """What a distribution says of its licence, as SPDX has it; of several, each."""
    expression = found.get("License-Expression")
    classified = [
        name.rpartition(" :: ")[2] for name in found.get_all("Classifier") or () if name.startswith("License :: ")
    ]
    said = re.split(r" (?:AND|OR|WITH) |[()]", expression) if expression else classified or [found.get("License") or ""]
    return {SPELLINGS.get(name, name) for name in said if name}


def refused(name, found):
    """The licences that it has and that are neither permissive nor its exception."""
    named = licences(found) or {"no licence"}
    return named - PERMISSIVE - {EXCEPTIONS.get(name, ("",))[0]}


def installed():
    for lock in LOCKS:
        for name, marker in locked((ROOT / lock).read_text()).items():
            try:
                yield name, metadata.distribution(name).metadata
            except metadata.PackageNotFoundError:
                assert marker, f"{lock} has {name}, and it is not installed: run `make setup`"


def test_every_locked_distribution_has_a_licence_that_is_named_here():
    found = list(installed())
    assert len({name for name, _ in found}) > 80
    assert {name: wrong for name, of in found if (wrong := refused(name, of))} == {}


def test_no_exception_is_idle():
    found = dict(installed())
    assert [name for name, (licence, _) in EXCEPTIONS.items() if licence not in licences(found[name])] == []
    assert all(len(why.split()) > 5 for _, why in EXCEPTIONS.values())


def test_nothing_that_is_deployed_needs_an_exception():
    deployed = locked((ROOT / "requirements.txt").read_text())
    assert {"aws-lambda-powertools", "fastjsonschema"} <= deployed.keys()
    assert deployed.keys() & EXCEPTIONS.keys() == set()


@pytest.mark.parametrize(
    ("field", "text", "wrong"),
    [
        ("License-Expression", "MIT OR Apache-2.0", set()),
        ("License-Expression", "MIT AND GPL-3.0-only", {"GPL-3.0-only"}),
        ("License-Expression", "(MIT OR (BSD-3-Clause AND AGPL-3.0-only))", {"AGPL-3.0-only"}),
        ("Classifier", "License :: OSI Approved :: MIT License", set()),
        ("Classifier", "License :: OSI Approved :: European Union Public Licence", {"European Union Public Licence"}),
        ("License", "Apache 2.0", set()),
        ("License", "Commercial", {"Commercial"}),
        ("License-Expression", "MPL-2.0", {"MPL-2.0"}),
        ("Summary", "says nothing of it", {"no licence"}),
    ],
)
def test_a_licence_that_nobody_has_looked_at_is_refused(field, text, wrong):
    distribution = Message()
    distribution[field] = text
    assert refused("x", distribution) == wrong
