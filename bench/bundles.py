"""How large what a function is deployed as is, against everything that it imports, packed as it is installed."""

from __future__ import annotations

import io
import re
import sys
import zipfile
from importlib import metadata
from pathlib import Path, PurePosixPath

from bench.measure import ROOT
from components.bundle import bundle

# What the handlers import, as a requirements.txt for `pip install --target` would name it.
_REQUIRED = ("aws-lambda-powertools", "fastjsonschema", "boto3")
_OWN = ("handlers", "contracts")
HERE = f"python{sys.version_info.major}.{sys.version_info.minor}"
"""The runtime for which a bundle brings byte code."""


def ratio(entry: str) -> float:
    """The bytes of our zip of an entry, with byte code, against those of the naive one, without."""
    return (ROOT / bundle(entry, HERE).path).stat().st_size / len(naive())


def naive() -> bytes:
    """A zip of all our modules and of the installed requirements with theirs, boto3 too: one for all functions."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, file in _files().items():
            archive.write(file, name)
    return packed.getvalue()


def _files() -> dict[str, Path]:
    own = [file for folder in _OWN for file in (ROOT / folder).rglob("*") if file.is_file()]
    files = {file.relative_to(ROOT).as_posix(): file for file in own}
    for distribution in _distributions():
        installed = [file for file in distribution.files or [] if ".." not in file.parts]
        files |= {PurePosixPath(file).as_posix(): Path(str(distribution.locate_file(file))) for file in installed}
    return {name: file for name, file in files.items() if file.suffix != ".pyc"}


def _distributions() -> list[metadata.Distribution]:
    todo, found = list(_REQUIRED), dict[str, metadata.Distribution]()
    while todo:
        name = todo.pop()
        if name not in found:
            found[name] = metadata.distribution(name)
            required = [line for line in found[name].requires or [] if "extra ==" not in line]
            todo += [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in required]
    return list(found.values())


def unpacked(entry: str, folder: Path, *, byte_code: bool) -> Path:
    """The zip of an entry, unpacked in a folder as Lambda does it, with the byte code in it or without."""
    with zipfile.ZipFile(ROOT / bundle(entry, HERE).path) as archive:
        archive.extractall(folder, [name for name in archive.namelist() if byte_code or not name.endswith(".pyc")])
    return folder
