"""Which stack a command acts on: what is said about it is complete, or the command is refused in one sentence."""

from __future__ import annotations

import json
import os
import sys

import pytest

from engine import locate
from ops.stack import Holds, RefusedError, of_engine, opened, read_exports
from sandbox.stack import opened as sandbox_stack
from tests.ops.conftest import command
from tests.ops.deployment import NAME, outputs


@pytest.fixture
def aws(monkeypatch):
    """No settings of AWS but those of the test, and an AWS that nobody serves."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")


@pytest.fixture
def pulumi(tmp_path, monkeypatch):
    """An engine on PATH that ends like this, and what it was asked."""
    folder = tmp_path / "bin"
    folder.mkdir()
    asked = tmp_path / "asked"

    def answers(out="", err="", code=0):
        script = folder / "pulumi"
        script.write_text(
            f"#!{sys.executable}\nimport sys\nopen({str(asked)!r}, 'w').write(' '.join(sys.argv[1:]))\n"
            f"sys.stdout.write({out!r})\nsys.stderr.write({err!r})\nsys.exit({code})\n"
        )
        script.chmod(0o700)

    monkeypatch.setenv("PATH", str(folder))
    answers.asked = asked
    return answers


def test_the_exports_are_read():
    exports = read_exports(outputs())
    assert [queue.name for queue in exports.queues] == [*outputs()["deadLetters"]]
    queue = exports.queue("acme-undelivered")
    assert (queue.holds, queue.redrive_with, queue.carrier) == (
        Holds.UNDELIVERED,
        f"{NAME}carrier-acme-confirm",
        "acme",
    )
    assert exports.queue("pipe").carrier is None
    acme, globex, _ = exports.carriers
    assert (acme.confirm_within_hours, acme.enabled, acme.rules) == (24, True, {f"{NAME}acme-orders": "ENABLED"})
    assert not globex.enabled


def test_a_queue_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(RefusedError, match="there is no queue 'x': this stack has pipe, overdue, acme-dead-letters"):
        read_exports(outputs()).queue("x")


WRONG = {
    "account": ("account", None, "account is not a text"),
    "an empty text": ("apiUrl", "", "apiUrl is not a text"),
    "alarms": ("alarms", "x", "alarms is not a list of texts"),
    "one alarm": ("alarms", [1], "alarms is not a list of texts"),
    "carriers": ("carriers", [], "carriers is not an object"),
    "one carrier": ("carriers", {"acme": None}, "carriers.acme is not an object"),
    "hours": (
        "carriers",
        {"acme": {"enabled": True, "confirmWithinHours": 0.5, "rules": {}}},
        "carriers.acme.confirmWithinHours is not a whole number",
    ),
    "true hours": (
        "carriers",
        {"acme": {"enabled": True, "confirmWithinHours": True, "rules": {}}},
        "carriers.acme.confirmWithinHours is not a whole number",
    ),
    "enabled": ("carriers", {"acme": {"enabled": "yes"}}, "carriers.acme.enabled is not true or false"),
    "a rule": (
        "carriers",
        {"acme": {"enabled": True, "confirmWithinHours": 1, "rules": {"r": 1}}},
        "carriers.acme.rules.r is not a text",
    ),
    "holds": (
        "deadLetters",
        {"pipe": {"url": "u", "holds": "letters"}},
        "deadLetters.pipe.holds is not one of streamPositions, undelivered, failures",
    ),
    # As the engine shows what is secret.
    "queues": ("deadLetters", "[secret]", "deadLetters is not an object"),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_export_that_is_something_else_is_named(case):
    name, value, said = WRONG[case]
    with pytest.raises(RefusedError) as refused:
        read_exports({**outputs(), name: value})
    assert str(refused.value) == (f"these are not the outputs of this program: {said}; deploy it with `pulumi up`")


@pytest.mark.parametrize("name", outputs())
def test_every_export_is_needed(name):
    lacking = outputs()
    del lacking[name]
    with pytest.raises(RefusedError, match=f": {name} is not "):
        read_exports(lacking)


def test_another_programs_outputs_are_refused():
    with pytest.raises(RefusedError, match="the document is not an object"):
        read_exports([])


# --- a file


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "can't be read: No such file or directory"),
        (b"\xff", "can't be read: it is no text"),
        (b"Current stack outputs:", "is not what `pulumi stack output --json` prints: "),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path, content, said):
    file = tmp_path / "outputs.json"
    if content is not None:
        file.write_bytes(content)
    refused = command("status", "--stack", "dev", "--outputs", file)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith(f"{file} {said}")
    assert len(refused.err.splitlines()) == 1


def test_without_credentials_nothing_is_done(aws, tmp_path):
    file = tmp_path / "outputs.json"
    file.write_text(json.dumps(outputs()))
    refused = command("dlq", "redrive", "--all", "--stack", "dev", "--outputs", file)
    assert refused == (2, "", "there are no AWS credentials: log in, or set AWS_PROFILE\n")


def test_who_can_not_be_identified_is_refused(aws, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setattr("ops.stack.PATIENT", None)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    file = tmp_path / "outputs.json"
    file.write_text(json.dumps(outputs()))
    with pytest.raises(RefusedError, match="AWS does not say whose credentials these are: "):
        opened("dev", outputs=file)


# --- the engine


def test_without_an_engine_both_ways_out_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RefusedError, match="no pulumi on PATH: install it, or give what it exports with --outputs"):
        opened("dev")


def test_the_engine_is_asked_for_the_stack_and_not_for_secrets(pulumi):
    pulumi(json.dumps(outputs()))
    assert of_engine("dev") == outputs()
    asked = pulumi.asked.read_text().split()
    assert asked[:3] == ["stack", "output", "--json"]
    assert asked[asked.index("--stack") + 1] == "dev"
    assert "--show-secrets" not in asked


def test_what_the_engine_says_of_a_stack_that_is_not_there_is_passed_on(pulumi):
    pulumi(err="error: no stack named 'dev' found\n", code=255)
    with pytest.raises(RefusedError) as refused:
        opened("dev")
    assert str(refused.value) == "pulumi does not know the outputs of stack dev: no stack named 'dev' found"


def test_the_real_engine_knows_what_was_deployed(cloud, monkeypatch):
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{cloud.state / 'backend'}")
    monkeypatch.setenv("PULUMI_HOME", str(cloud.state / "home"))
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE_FILE", str(cloud.state / "passphrase"))
    monkeypatch.setenv("PATH", f"{locate().bin}{os.pathsep}{os.environ['PATH']}")
    with sandbox_stack(
        "local", settings=cloud.settings, state=cloud.state, pack=None, providers=cloud.session
    ) as stack:
        assert of_engine("local") == stack.outputs()
    assert read_exports(of_engine("local")).table == cloud.outputs["tableName"]


# --- the local cloud


def test_where_nothing_runs_it_says_how_to_start_it(tmp_path):
    assert command("status", "--state", tmp_path) == (2, "", "nothing runs: start it with `make up`\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dlq", "redrive"], "name a queue, or say --all"),
        (["dlq", "redrive", "pipe", "--all"], "name a queue, or say --all"),
        (["dlq", "redrive", "--all", "--discard"], "--message and --discard need the name of a queue"),
        (["dlq", "redrive", "--all", "--message", "m"], "--message and --discard need the name of a queue"),
    ],
)
def test_a_command_that_says_too_little_or_too_much_is_refused(arguments, said):
    assert command(*arguments) == (2, "", f"{said}\n")


@pytest.mark.parametrize("arguments", [["nonsense"], ["dlq", "list", "--limit", "0"], ["dlq", "show"]])
def test_a_wrong_command_line_is_refused(arguments):
    refused = command(*arguments)
    assert (refused.code, refused.out) == (2, "")
    assert "Usage: " in refused.err


def test_the_exit_codes_are_documented():
    for arguments in ([], ["dlq"]):
        said = " ".join(command(*arguments, "--help").out.split())
        assert "Exit codes: 0 all is well or done; 1 something is left to do" in said
