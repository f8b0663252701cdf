"""Which engine is taken, and that a build is done once, whole or not at all: with stand-ins for `go` and `pulumi`."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine import Engine, EngineError, locate, toolchain

ROOT = Path(__file__).resolve().parents[2]
CLI = toolchain.Pin.read(ROOT / "engine" / "cli")
LANGUAGE = toolchain.Pin.read(ROOT / "engine" / "language")
DEADLINE = 30  # seconds: far more than any of these waits takes

# Answers as Go does, as far as the engine asks. While the file `gate` is there, a build stays half done.
GO = f"""#!{sys.executable} -IS
import json, os, pathlib, re, sys, time
here, arguments = pathlib.Path(MACHINE), sys.argv[1:]
with open(here / "calls", "a") as calls:
    calls.write(json.dumps({{"arguments": arguments, "environment": dict(os.environ)}}) + "\\n")
failure = here / f"{{arguments[0]}}-fails"
if failure.exists():
    sys.exit(failure.read_text())
if arguments[0] == "env":
    print((here / "go-version").read_text())
elif arguments[:2] == ["list", "-m"]:
    print(here / "sdk")
elif arguments[0] == "build":
    package, link = arguments[-1], arguments[arguments.index("-ldflags") + 1]
    output = pathlib.Path(arguments[arguments.index("-o") + 1]) / package.rpartition("/")[2]
    output.write_text("#!/bin/sh\\n# half")
    output.chmod(0o755)
    (here / "compiling").write_text(str(os.getpid()))
    given_up = time.monotonic() + {DEADLINE}
    while (here / "gate").exists() and time.monotonic() < given_up:
        time.sleep(0.01)
    version = re.search(r"version\\.Version=(\\S+)", link)[1]
    output.write_text(f"#!/bin/sh\\necho {{version}}\\n# whole\\n")
"""


def until(happened, what):
    given_up = time.monotonic() + DEADLINE
    while not happened():
        assert time.monotonic() < given_up, f"waited {DEADLINE} s for this: {what}"
        time.sleep(0.01)


class Machine:
    """A home and a PATH that hold only what a test puts there."""

    def __init__(self, folder):
        self.folder = folder
        self.home = folder / "home"
        self.path = [folder / "bin"]
        self.cache = self.home / ".cache" / "event-gateway" / "engine"
        for needed in (self.home, self.path[0], folder / "sdk" / "python" / "cmd"):
            needed.mkdir(parents=True)
        (folder / "sdk" / "python" / "cmd" / "pulumi-language-python-exec").write_text("# runs the program\n")

    @property
    def environment(self):
        return {"HOME": str(self.home), "PATH": os.pathsep.join(map(str, self.path))}

    def put(self, name, text, folder=None):
        file = (folder or self.path[0]) / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
        return file

    def put_go(self, version="go1.999.0"):
        (self.folder / "go-version").write_text(version)
        self.put("go", GO.replace("MACHINE", repr(str(self.folder))))

    def put_pulumi(self, version, *, host=True, folder=None):
        if host:
            self.put("pulumi-language-python", "#!/bin/sh\n", folder)
        return self.put("pulumi", f"#!/bin/sh\necho v{version}\n", folder)

    def say(self, name, text=""):
        (self.folder / name).write_text(text)

    def unsay(self, name):
        (self.folder / name).unlink()

    def said(self, name):
        return (self.folder / name).exists()

    @property
    def calls(self):
        file = self.folder / "calls"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    @property
    def builds(self):
        """What was compiled, in order."""
        return [call["arguments"][-1] for call in self.calls if call["arguments"][0] == "build"]

    @property
    def leftovers(self):
        return list(self.cache.glob("*.building-*"))

    def start(self, name="first"):
        with (self.folder / f"{name}.out").open("w") as out, (self.folder / f"{name}.err").open("w") as err:
            return subprocess.Popen(
                [sys.executable, "-m", "engine"], cwd=ROOT, env=self.environment, stdout=out, stderr=err
            )

    def out(self, name="first"):
        return (self.folder / f"{name}.out").read_text()

    def err(self, name="first"):
        return (self.folder / f"{name}.err").read_text()

    def run(self):
        """`python -m engine` to its end: its exit code."""
        return self.start().wait(DEADLINE)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    made = Machine(tmp_path)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(made.home))
    monkeypatch.setenv("PATH", made.environment["PATH"])
    yield made
    (tmp_path / "gate").unlink(missing_ok=True)  # a stand-in that outlived its test ends by this


def find(machine, monkeypatch) -> tuple[Engine, str]:
    """The engine, and what was told on the way."""
    monkeypatch.setenv("PATH", machine.environment["PATH"])
    told = io.StringIO()
    return locate(told), told.getvalue()


# --- which engine -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "version",
    [
        f"{CLI.version}",
        f"{CLI.version.major}.{CLI.version.minor}.0",
        f"{CLI.version.major}.{CLI.version.minor + 1}.0-alpha.1",
        f"{CLI.version.major}.{CLI.version.minor}0.0",
        f"{CLI.version.major + 1}.0.0",
    ],
)
def test_a_recent_installation_comes_before_a_build(machine, monkeypatch, version):
    machine.put_go()
    assert find(machine, monkeypatch)[0].origin == "built"
    pulumi = machine.put_pulumi(version)

    engine, told = find(machine, monkeypatch)

    assert (engine.origin, engine.pulumi, engine.bin) == ("installed", pulumi, pulumi.parent)
    assert engine.version == toolchain.Version.parse(version)
    assert not engine.executable_pack, "an installed language host starts the pack's folder itself"
    assert told == ""


@pytest.mark.parametrize("version", [f"{CLI.version.major}.{CLI.version.minor - 1}.9", "3.99.0", "2.999.0"])
def test_an_old_installation_is_not_used_and_one_is_told_so(machine, monkeypatch, version):
    machine.put_go()
    pulumi = machine.put_pulumi(version)

    engine, told = find(machine, monkeypatch)

    assert (engine.origin, engine.version) == ("built", CLI.version)
    assert f"{pulumi} is {version}" in told
    assert str(pulumi) in find(machine, monkeypatch)[1], "told again when the build is there already"


@pytest.mark.parametrize("script", ["#!/bin/sh\nexit 3\n", "#!/bin/sh\necho hello\n", "#!/no/such/program\n"])
def test_an_installation_that_does_not_tell_its_version_is_not_used(machine, monkeypatch, script):
    machine.put_go()
    machine.put_pulumi(CLI.version)
    machine.put("pulumi", script)
    engine, told = find(machine, monkeypatch)
    assert engine.origin == "built"
    assert "does not tell its version" in told


def test_an_installation_needs_its_own_language_host(machine, monkeypatch):
    machine.put_go()
    machine.put_pulumi(CLI.version, host=False)
    engine, told = find(machine, monkeypatch)
    assert engine.origin == "built"
    assert "has no pulumi-language-python" in told

    machine.path += [engine.bin]
    assert find(machine, monkeypatch)[0].origin == "cached", "the host that was built here is not the installation's"

    elsewhere = machine.folder / "elsewhere"
    machine.put("pulumi-language-python", "#!/bin/sh\n", elsewhere)
    machine.path += [elsewhere]
    assert find(machine, monkeypatch)[0].origin == "installed"


def test_a_linked_installation_is_used_where_its_language_host_is(machine, monkeypatch):
    pulumi = machine.put_pulumi(CLI.version, folder=machine.folder / "opt")
    (machine.path[0] / "pulumi").symlink_to(pulumi)
    engine, _ = find(machine, monkeypatch)
    assert (engine.origin, engine.bin) == ("installed", pulumi.parent)


def test_our_own_build_on_the_path_is_no_installation(machine, monkeypatch):
    machine.put_go()
    built, _ = find(machine, monkeypatch)
    machine.path.insert(0, built.bin)
    engine, _ = find(machine, monkeypatch)
    assert engine.origin == "cached"
    assert engine.executable_pack


# --- the build --------------------------------------------------------------------------------------------------------


def test_a_build_is_done_once_and_then_needs_no_go(machine, monkeypatch):
    machine.put_go()
    first, _ = find(machine, monkeypatch)
    assert first.origin == "built"
    assert machine.builds == [CLI.package, LANGUAGE.package]
    assert sorted(file.name for file in first.bin.iterdir()) == [
        "pulumi",
        "pulumi-language-python",
        "pulumi-language-python-exec",
    ]
    assert all(os.access(file, os.X_OK) for file in first.bin.iterdir())
    assert first.executable_pack
    (machine.path[0] / "go").unlink()

    second, told = find(machine, monkeypatch)

    assert (second.origin, second.pulumi, second.version) == ("cached", first.pulumi, CLI.version)
    assert told == ""


def test_the_command_prints_the_folder_alone(machine):
    machine.put_go()
    assert machine.run() == 0
    (folder,) = machine.cache.glob("*/bin")
    assert machine.out() == f"{folder}\n"
    assert f"pulumi {CLI.version} (built): {folder / 'pulumi'}" in machine.err()


def test_the_pins_decide_and_not_the_settings_of_the_caller(machine, monkeypatch):
    machine.put_go()
    for name, value in {"GOFLAGS": "-mod=mod", "GOOS": "plan9", "GOWORK": "/a/go.work", "GO111MODULE": "off"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GOPROXY", "off")
    find(machine, monkeypatch)
    compiled = [call for call in machine.calls if call["arguments"][0] == "build"]
    assert len(compiled) == 2
    for call, pin in zip(compiled, (CLI, LANGUAGE), strict=True):
        environment = call["environment"]
        assert environment["GOFLAGS"] == "-mod=readonly"
        assert environment["CGO_ENABLED"] == "0"
        assert environment["GOWORK"] == "off"
        assert environment["GO111MODULE"] == "on"
        assert environment["GOOS"] == sys.platform
        assert environment["GOPROXY"] == "off", "where modules come from is the caller's own affair"
        assert Path(environment["GOTMPDIR"]).is_relative_to(machine.cache), "a killed build leaves nothing elsewhere"
        assert "-trimpath" in call["arguments"]
        assert call["arguments"][-1] == pin.package
        assert f"version.Version=v{pin.version}" in call["arguments"][call["arguments"].index("-ldflags") + 1]


@pytest.mark.parametrize("file", ["cli/go.mod", "cli/go.sum", "language/go.mod", "language/go.sum"])
def test_a_changed_pin_is_another_build(machine, monkeypatch, tmp_path, file):
    machine.put_go()
    before, _ = find(machine, monkeypatch)
    copy = tmp_path / "engine"
    shutil.copytree(ROOT / "engine", copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / file).write_text((copy / file).read_text() + "\n")
    monkeypatch.setattr(toolchain, "_HERE", copy)
    after, _ = find(machine, monkeypatch)
    assert after.origin == "built"
    assert after.bin != before.bin


@pytest.mark.parametrize("missing", ["pulumi", "pulumi-language-python", "pulumi-language-python-exec"])
def test_a_build_that_lost_a_file_is_built_again(machine, monkeypatch, missing):
    machine.put_go()
    engine, _ = find(machine, monkeypatch)
    (engine.bin / missing).unlink()
    again, _ = find(machine, monkeypatch)
    assert (again.origin, again.bin) == ("built", engine.bin)
    assert (engine.bin / missing).exists()


def test_a_build_of_another_version_than_pinned_is_not_kept(machine, monkeypatch):
    machine.put_go()
    machine.put("go", (machine.path[0] / "go").read_text().replace("echo {version}", "echo v3.1.0"))
    with pytest.raises(EngineError, match=r"was built as 3\.1\.0"):
        find(machine, monkeypatch)
    assert not list(machine.cache.glob("*/bin"))


def test_a_build_that_was_cut_off_is_never_taken_for_a_good_one(machine):
    machine.put_go()
    machine.say("gate")
    process = machine.start()
    until(lambda: machine.said("compiling"), "a compiler at work")
    process.send_signal(signal.SIGKILL)
    process.wait(DEADLINE)
    os.kill(int((machine.folder / "compiling").read_text()), signal.SIGKILL)
    (half,) = machine.cache.glob("**/pulumi")
    assert half.read_text().endswith("# half")
    machine.unsay("gate")

    assert machine.run() == 0

    assert "(built)" in machine.err()
    assert machine.builds == [CLI.package, CLI.package, LANGUAGE.package]
    assert (Path(machine.out().strip()) / "pulumi").read_text().endswith("# whole\n")
    assert not machine.leftovers
    assert not half.exists()


def test_a_build_that_is_told_to_stop_takes_its_compiler_with_it(machine):
    machine.put_go()
    machine.say("gate")
    process = machine.start()
    until(lambda: machine.said("compiling"), "a compiler at work")
    process.terminate()
    assert process.wait(DEADLINE) == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(int((machine.folder / "compiling").read_text()), 0)
    assert not machine.leftovers
    assert "Traceback" not in machine.err()


def test_of_two_builds_at_once_the_second_waits_and_takes_what_the_first_built(machine):
    machine.put_go()
    machine.say("gate")
    first = machine.start("first")
    until(lambda: machine.said("compiling"), "a compiler at work")
    second = machine.start("second")
    until(lambda: "waiting for another build" in machine.err("second"), "the second says that it waits")
    assert machine.builds == [CLI.package]
    assert second.poll() is None
    machine.unsay("gate")

    assert (first.wait(DEADLINE), second.wait(DEADLINE)) == (0, 0)

    assert machine.builds == [CLI.package, LANGUAGE.package]
    assert machine.out("first") == machine.out("second") != ""
    assert "(built)" in machine.err("first")
    assert "(cached)" in machine.err("second")


def test_a_killed_build_does_not_block_the_one_that_waits(machine):
    machine.put_go()
    machine.say("gate")
    first = machine.start("first")
    until(lambda: machine.said("compiling"), "a compiler at work")
    second = machine.start("second")
    until(lambda: "waiting for another build" in machine.err("second"), "the second says that it waits")
    first.kill()
    first.wait(DEADLINE)
    # Its compiler lives on, which must not hold the lock.
    until(lambda: machine.builds == [CLI.package, CLI.package], "the second builds")
    machine.unsay("gate")
    assert second.wait(DEADLINE) == 0
    assert "(built)" in machine.err("second")


# --- where it is kept -------------------------------------------------------------------------------------------------


def test_the_cache_is_where_the_user_wants_it(machine, monkeypatch, tmp_path):
    machine.put_go()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    assert find(machine, monkeypatch)[0].bin.is_relative_to(tmp_path / "own" / "event-gateway" / "engine")
    monkeypatch.setenv("XDG_CACHE_HOME", "own")
    assert find(machine, monkeypatch)[0].bin.is_relative_to(machine.cache), "a relative path is to be ignored"


def test_a_cache_that_can_not_be_written_is_one_sentence(machine):
    machine.put_go()
    (machine.home / ".cache").write_text("a file where a folder is needed")
    assert machine.run() == 1
    assert "Traceback" not in machine.err()
    assert "set XDG_CACHE_HOME" in machine.err().splitlines()[-1]


# --- no engine --------------------------------------------------------------------------------------------------------


def assert_both_remedies(machine):
    assert machine.run() == 1
    assert machine.out() == ""
    (sentence,) = machine.err().splitlines()
    assert f"install Pulumi {CLI.version.major}.{CLI.version.minor} or newer" in sentence
    assert f"Go {CLI.go} or newer" in sentence
    return sentence


def test_neither_pulumi_nor_go_is_one_sentence_with_both_remedies(machine):
    sentence = assert_both_remedies(machine)
    assert "pulumi is not on PATH" in sentence
    assert "go is not on PATH" in sentence


def test_an_old_pulumi_and_an_old_go_are_no_better_than_none(machine):
    pulumi = machine.put_pulumi("3.1.0")
    older = f"{CLI.go.major}.{CLI.go.minor - 1}.9"
    machine.put_go(f"go{older} X:nocoverageredesign")
    sentence = assert_both_remedies(machine)
    assert f"{pulumi} is 3.1.0" in sentence
    assert f"{machine.path[0] / 'go'} is {older}" in sentence
    assert machine.builds == []


@pytest.mark.parametrize("version", ["", "devel"])
def test_a_go_that_does_not_tell_its_version_is_none(machine, version):
    machine.put_go(version)
    assert "does not tell its version" in assert_both_remedies(machine)


def test_a_go_that_can_not_fetch_the_newer_one_it_needs_is_none(machine):
    machine.put_go()
    machine.say("env-fails", "go: downloading go1.999\ngo: download go1.999: 403 Forbidden")
    assert "fails (go: download go1.999: 403 Forbidden)" in assert_both_remedies(machine)


@pytest.mark.parametrize("step", ["list", "build"])
def test_what_go_said_last_is_shown_when_it_fails(machine, step):
    machine.put_go()
    noise = [f"go: downloading example.com/{number} v1" for number in range(50)]
    machine.say(f"{step}-fails", "\n".join(["the cause", *noise, "write /somewhere: no space left on device"]))
    assert machine.run() == 1
    assert machine.out() == ""
    *_, cause, last, sentence = machine.err().splitlines()
    assert (cause, last) == ("  the cause", "  write /somewhere: no space left on device")
    assert sentence.startswith(f"The Pulumi engine could not be built: `go {step}` of pulumi v{CLI.version}")
    assert sentence.endswith(
        " It needs a Go module proxy (the public one, or that of GOPROXY) and room on the disk; then run it again."
    )
    assert "Traceback" not in machine.err()
    assert not machine.leftovers

    machine.unsay(f"{step}-fails")
    assert machine.run() == 0


# --- what is told -----------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


def twice(stream):
    """Two stages of 65 and of 3 seconds."""
    now = 0.0
    with toolchain.Progress(stream, clock=lambda: now) as progress:
        progress.stage("compiling")
        for _ in range(65):
            now += 1
            progress.tick()
        progress.stage("checking")
        for _ in range(3):
            now += 1
            progress.tick()
    return stream.getvalue()


def test_a_log_gets_a_line_per_stage_and_one_every_half_minute():
    assert twice(io.StringIO()).splitlines() == [
        "[   0 s] compiling",
        "[  30 s] compiling",
        "[  60 s] compiling",
        "[  65 s] checking",
    ]


def test_a_terminal_gets_one_line_per_stage_that_counts(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    compiling, checking, end = twice(Terminal()).split("\n")
    assert compiling.split("\r\x1b[K")[1:] == [f"[{second:4} s] compiling" for second in range(66)]
    assert checking.split("\r\x1b[K")[1:] == [f"[{second:4} s] checking" for second in (65, 66, 67, 68)]
    assert end == ""


def test_a_dumb_terminal_is_treated_as_a_log(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b" not in twice(Terminal())


# --- the pins ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pin", [CLI, LANGUAGE], ids=["cli", "language"])
def test_versions_stand_in_go_mod_and_nowhere_else(pin):
    assert f"{pin.module} v{pin.version}" in (pin.folder / "go.mod").read_text()
    assert f"{pin.module} v{pin.version} h1:" in (pin.folder / "go.sum").read_text(), "go.sum must be tidied with it"
    sources = list((ROOT / "engine").glob("*.py"))
    assert sources
    assert not [source.name for source in sources if str(pin.version) in source.read_text()]


def test_the_pins_build_the_cli_and_its_python_language_host():
    assert (CLI.executable, LANGUAGE.executable) == ("pulumi", "pulumi-language-python")


@pytest.mark.parametrize("lost", ["go ", "tool "])
def test_a_go_mod_without_what_is_read_from_it_is_an_error_that_names_it(tmp_path, lost):
    lines = (CLI.folder / "go.mod").read_text().splitlines()
    kept = [line for line in lines if not line.startswith(lost)]
    assert len(kept) == len(lines) - 1
    (tmp_path / "go.mod").write_text("\n".join(kept))
    with pytest.raises(ValueError, match=r"go\.mod must name"):
        toolchain.Pin.read(tmp_path)
