"""Handler zips: one per entry, the same bytes from the same inputs, rebuilt only when an input changes.

A zip holds the entry, the modules of `handlers/` and `contracts/` that it imports, and the distributions that those
import, as installed from the locked requirements. What AWS's runtime brings (boto3, botocore) stays out.
"""

from __future__ import annotations

import ast
import base64
import functools
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath

import pulumi

_ROOT = Path(__file__).parent.parent
_OWN = ("handlers", "contracts")
# What our modules read at run time; other templates and patterns are the program's, and no reason for a new zip.
_DATA = {"contracts": ("schemas/*.json", "templates/order_created.pipe.txt")}
_IN_THE_RUNTIME = {"boto3", "botocore"}
# What pip writes on installation: it differs between machines, and nothing reads it.
_INSTALLER_FILES = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}
# The earliest date that a zip can hold.
_DATE = (1980, 1, 1, 0, 0, 0)
# Run isolated, since what an interpreter has done before shows in the code objects that it marshals.
_COMPILE = """
import json, py_compile, sys
for source, name, target in json.load(sys.stdin):
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(source, target, name, doraise=True, invalidation_mode=mode)
"""


@dataclass(frozen=True)
class Package:
    """A zip on disk, by a path relative to the working directory so that it is the same in everybody's state."""

    path: str
    sha256: str
    """Base64, as Lambda's CodeSha256."""


@functools.cache
def bundle(entry: str, runtime: str) -> Package:
    """The zip of `handlers/{entry}.py` for a Python `runtime` such as `python3.13`, in `build/handlers`.

    Byte code goes in when this interpreter's minor version is the runtime's; otherwise Lambda compiles at cold start.
    Raises pulumi.RunError for an entry that does not exist, and for an installed distribution that is not the locked
    one or is not pure Python.
    """
    files = _files(entry)
    compiled = runtime == f"python{sys.version_info.major}.{sys.version_info.minor}"
    inputs = {
        "files": {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()},
        "compiled_by": sys.version if compiled else None,
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
    }
    fingerprint = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
    target = _ROOT / "build" / "handlers" / f"{entry}-{runtime}.zip"
    note = target.with_suffix(".inputs")
    if not (target.exists() and note.exists() and note.read_text(encoding="utf-8") == fingerprint):
        target.parent.mkdir(parents=True, exist_ok=True)
        _write(target, files, compiled=compiled)
        _replace(note, fingerprint.encode())
    digest = base64.b64encode(hashlib.sha256(target.read_bytes()).digest()).decode()
    return Package(os.path.relpath(target), digest)


def _files(entry: str) -> dict[str, Path]:
    """Every file of the zip, by its name in it."""
    files, third_party = _own_files(f"handlers.{entry}")
    for distribution in _distributions(third_party):
        files |= _distribution_files(distribution)
    return dict(sorted(files.items()))


def _own_files(entry: str) -> tuple[dict[str, Path], set[str]]:
    """Our modules that `entry` reaches, with the data they read, and the other packages that these import."""
    files: dict[str, Path] = {}
    third_party: set[str] = set()
    todo = [entry]
    seen: set[str] = set()
    while todo:
        module = todo.pop()
        if module in seen:
            continue
        seen.add(module)
        package, _, _ = module.partition(".")
        if package not in _OWN:
            third_party.add(package)
            continue
        source = _ROOT.joinpath(*module.split("."))
        path = source / "__init__.py" if source.is_dir() else source.with_suffix(".py")
        if not path.exists():
            if module == entry:
                raise pulumi.RunError(f"there is no handlers/{entry.removeprefix('handlers.')}.py to bundle")
            continue  # `from package import name`: a name, not a module
        files[path.relative_to(_ROOT).as_posix()] = path
        for pattern in _DATA.get(module, ()):
            files |= {p.relative_to(_ROOT).as_posix(): p for p in source.glob(pattern)}
        todo += [package, *_imports(path)]
    return files, third_party - sys.stdlib_module_names - _IN_THE_RUNTIME


def _imports(path: Path) -> list[str]:
    """Absolute names of what a module imports when it is imported; a name may be a module or something inside one."""
    found: list[str] = []
    for node in ast.parse(path.read_bytes(), path).body:
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


def _distributions(packages: set[str]) -> list[metadata.Distribution]:
    """The locked distributions of these import names, and what they require."""
    locked, found = _locked(), dict[str, metadata.Distribution]()
    todo = [_normal(provider) for package in packages for provider in _providers(package, locked)]
    while todo:
        name = todo.pop()
        if name in found or name in _IN_THE_RUNTIME:
            continue
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            raise pulumi.RunError(f"{name} is not installed, and a handler needs it: run `pulumi install`") from None
        if distribution.version != locked.get(name):
            raise pulumi.RunError(
                f"{name} {distribution.version} is installed, but requirements.txt pins {locked.get(name, 'none')}: "
                f"run `pulumi install`"
            )
        found[name] = distribution
        # An extra is only required by whoever asks for it, and no handler does.
        required = (r for r in distribution.requires or [] if "extra ==" not in r)
        todo += [_normal(re.match(r"[\w.-]+", requirement)[0]) for requirement in required]  # type: ignore[index]
    return list(found.values())


def _providers(package: str, locked: Collection[str]) -> Sequence[str]:
    """The distributions that bring an import name: the locked one of that name, else what is installed says.

    That reads the records of everything installed, which takes half as long as all the rest of the program.
    """
    if _normal(package) in locked:
        return [package]
    return metadata.packages_distributions().get(package, [package])


def _distribution_files(distribution: metadata.Distribution) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for file in distribution.files or []:
        if file.suffix in {".so", ".pyd", ".dylib"}:
            raise pulumi.RunError(
                f"{distribution.name} holds {file.name}, which is built for this machine and not for Lambda: "
                f"choose a pure Python package, or put it into a layer"
            )
        installed_by_pip = file.name in _INSTALLER_FILES or file.suffix == ".pyc" or ".." in file.parts
        if not installed_by_pip:
            files[PurePosixPath(file).as_posix()] = Path(str(distribution.locate_file(file)))
    return files


def _locked() -> dict[str, str]:
    lines = (_ROOT / "requirements.txt").read_text(encoding="utf-8")
    return {_normal(name): version for name, version in re.findall(r"^([\w.-]+)==([^\s;\\]+)", lines, re.MULTILINE)}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _write(target: Path, files: dict[str, Path], *, compiled: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        everything = {**files, **(_compile(files, Path(folder)) if compiled else {})}
        unfinished = Path(folder) / "unfinished.zip"
        with zipfile.ZipFile(unfinished, "w") as archive:
            for name, path in sorted(everything.items()):
                member = zipfile.ZipInfo(name, _DATE)
                member.create_system = 3  # Unix, wherever it is packed: the mode below is Unix's
                member.external_attr = 0o100644 << 16
                archive.writestr(member, path.read_bytes(), zipfile.ZIP_DEFLATED, 9)
        _replace(target, unfinished.read_bytes())


def _compile(files: dict[str, Path], folder: Path) -> dict[str, Path]:
    """Byte code of every module, by its name in the zip."""
    tag = sys.implementation.cache_tag
    jobs: list[tuple[str, str, str]] = []
    compiled: dict[str, Path] = {}
    for name, path in files.items():
        if name.endswith(".py"):
            module = PurePosixPath(name)
            pyc = (module.parent / "__pycache__" / f"{module.stem}.{tag}.pyc").as_posix()
            compiled[pyc] = folder / pyc
            jobs.append((str(path), f"/var/task/{name}", str(compiled[pyc])))
    subprocess.run(  # noqa: S603 - this interpreter, on a constant program
        [sys.executable, "-I", "-S", "-W", "ignore", "-c", _COMPILE], input=json.dumps(jobs), text=True, check=True
    )
    return compiled


def _replace(target: Path, content: bytes) -> None:
    """Write whole or not at all, so that an interrupted or a second run never sees half a file."""
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as file:
        file.write(content)
    Path(file.name).replace(target)
