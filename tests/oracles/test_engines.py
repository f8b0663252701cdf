"""How the engines come to this machine: whole, once, and only as they are pinned; or why they don't."""

from __future__ import annotations

import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.oracles import engines

SOURCES = ("Oracle.java", "jars.sha256", "pom.xml")
JAVAC = "#!/bin/sh\necho javac {version}\n"
# Copies the archives beside it to where Maven is told to, after it has noted that it was called.
MAVEN = f"""#!{sys.executable} -IS
import pathlib, shutil, sys
here = pathlib.Path(__file__).parent
with open(here / "calls", "a") as calls:
    calls.write("called\\n")
target = [word.partition("=")[2] for word in sys.argv if word.startswith("-DoutputDirectory=")][0]
shutil.copytree(here / "jars", target)
"""


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A folder that is all of PATH, and an empty cache."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "bin"


def put(folder, name, text):
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


def left(machine):
    """What is in the cache beside its lock."""
    cache = machine.parent / "cache" / "event-gateway" / "oracles"
    return sorted(path.name for path in cache.glob("*") if path.name != "lock")


@pytest.mark.parametrize("says", [None, "1.8.0_392", "11.0.2", "16", "what?"])
def test_without_a_java_that_is_new_enough_there_are_none(machine, says):
    if says is not None:
        put(machine, "javac", JAVAC.format(version=says))

    with pytest.raises(engines.UnavailableError, match="Java 17 or newer is needed") as error:
        engines.build()
    assert says is None or says in str(error.value)


@pytest.mark.parametrize("version", ["17", "21.0.1", "25-ea"])
def test_without_maven_there_are_none(machine, version):
    put(machine, "javac", JAVAC.format(version=version))

    with pytest.raises(engines.UnavailableError, match="there is no mvn on PATH"):
        engines.build()
    assert left(machine) == []


@pytest.mark.parametrize(
    "said",
    [
        "[ERROR] ... Could not transfer artifact a:b:jar:1 from/to central: Connection refused",
        "[ERROR] ... Cannot access central in offline mode and the artifact a:b:jar:1 has not been downloaded",
    ],
)
def test_where_nothing_can_be_fetched_there_are_none(machine, said):
    put(machine, "javac", JAVAC.format(version="17"))
    put(machine, "mvn", f"#!/bin/sh\necho '{said}'\nexit 1\n")

    with pytest.raises(engines.UnavailableError, match="reaches no repository"):
        engines.build()
    assert left(machine) == []


def test_a_version_that_does_not_exist_is_a_mistake_and_no_reason_to_skip(machine):
    put(machine, "javac", JAVAC.format(version="17"))
    put(machine, "mvn", "#!/bin/sh\necho 'Could not find artifact a:b:jar:1 in central'\nexit 1\n")

    with pytest.raises(engines.BuildError, match="Could not find artifact"):
        engines.build()


def test_what_hangs_is_given_up(machine, monkeypatch):
    monkeypatch.setattr(engines, "_FETCHED_WITHIN", 0.2)
    put(machine, "javac", JAVAC.format(version="17"))
    put(machine, "mvn", f"#!{sys.executable} -IS\nimport signal\nsignal.pause()\n")

    with pytest.raises(engines.UnavailableError, match="has not fetched the engines within"):
        engines.build()


@pytest.mark.oracle
class TestArchives:
    @pytest.fixture
    def sources(self, built, machine, tmp_path):
        """Our files, a Java that compiles, and a Maven that has the archives already."""
        for name in ("javac", "java"):
            put(machine, name, f'#!/bin/sh\nexec "{built.java.with_name(name)}" "$@"\n')
        put(machine, "mvn", MAVEN)
        shutil.copytree(built.home / "jars", machine / "jars")
        sources = tmp_path / "sources"
        sources.mkdir()
        for name in SOURCES:
            shutil.copy(engines._HERE / name, sources)
        return sources

    @pytest.fixture
    def maven(self, sources, machine):
        return lambda: (machine / "calls").read_text().count("called")

    def test_one_is_built_once_whoever_asks_and_then_kept(self, sources, machine, maven):
        with ThreadPoolExecutor(4) as pool:
            builds = set(pool.map(lambda _: engines.build(sources), range(4)))

        [build] = {*builds, engines.build(sources)}
        assert maven() == 1
        assert left(machine) == [build.home.name]
        with engines.Oracle(build) as oracle:
            assert oracle.matches('{"a": [1]}', {"a": 1}) is True

    @pytest.mark.parametrize("harm", ["changed", "missing", "added"])
    def test_another_archive_than_the_pinned_one_is_never_run(self, sources, machine, harm):
        jar = machine / "jars" / ("x.jar" if harm == "added" else "velocity-1.7.jar")
        if harm == "missing":
            jar.unlink()
        else:
            jar.write_bytes((jar.read_bytes() if jar.exists() else b"") + b"x")

        with pytest.raises(engines.BuildError, match=rf"not the archives that jars\.sha256 pins: {jar.name}$"):
            engines.build(sources)
        assert left(machine) == []

    def test_what_was_changed_in_the_cache_is_built_again(self, sources, maven):
        build = engines.build(sources)
        jar = build.home / "jars" / "velocity-1.7.jar"
        whole = jar.read_bytes()
        jar.write_bytes(whole[:-1])

        assert engines.build(sources) == build
        assert jar.read_bytes() == whole
        assert maven() == 2

    def test_a_program_that_does_not_compile_is_a_mistake(self, sources, machine):
        (sources / "Oracle.java").write_text("nonsense")

        with pytest.raises(engines.BuildError, match=r"Oracle\.java doesn't compile"):
            engines.build(sources)
        assert left(machine) == []

    def test_an_engine_that_ends_says_at_what(self, built):
        with engines.Oracle(built) as oracle, pytest.raises(RuntimeError, match=r"ended with status .*no-such-engine"):
            oracle.render("no-such-engine", "x", body="")


@pytest.mark.parametrize("name", SOURCES)
def test_a_changed_source_is_another_build(tmp_path, name):
    for source in SOURCES:
        shutil.copy(engines._HERE / source, tmp_path)
    before = engines._key(tmp_path)
    with (tmp_path / name).open("a") as file:
        file.write("\n")

    assert before == engines._key(engines._HERE) != engines._key(tmp_path)


def test_every_direct_dependency_is_pinned_by_its_digest():
    pinned = engines._pinned(engines._HERE)

    assert len(pinned) > 10
    assert {*engines._ARCHIVES, "event-ruler-2.1.0.jar"} <= pinned.keys()
    assert {len(digest) for digest in pinned.values()} == {64}
    assert os.sep not in "".join(pinned)
