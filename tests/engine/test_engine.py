"""The real engine on the local providers: previews, updates, replacements and what must never happen, end to end.

Our own program is run as a copy, so that a test may change it, and every run has a state of its own.
"""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from sandbox import stack as stacks
from sandbox.provider import Providers
from sandbox.stack import opened
from tests import graph

DEADLINE = 60  # seconds: far more than any of these waits takes
CANARY = graph.CANARY
STACKS = ("local", "dev", "prod")
# What a policy that could not be run is reported as: as a remark, while the engine goes on.
DEMOTED = "can't run policy"


@pytest.fixture(scope="session")
def providers():
    with Providers() as providers:
        yield providers


@pytest.fixture(scope="session")
def original(tmp_path_factory):
    """Our program as it was when the tests began, with the bundles of its handlers if there are any."""
    copy = tmp_path_factory.mktemp("program")
    for name in ("components", "contracts", "handlers", "build/handlers"):
        if (graph.ROOT / name).exists():
            # A bundle that another process is making is no part of it yet.
            shutil.copytree(graph.ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "tmp*"))
    for file in ("__main__.py", "requirements.txt", *(path.name for path in graph.ROOT.glob("Pulumi*.yaml"))):
        shutil.copy(graph.ROOT / file, copy)
    return copy


@pytest.fixture(scope="session")
def deployed(original, providers, tmp_path_factory):
    """The state in which our program is deployed as it is."""
    state = tmp_path_factory.mktemp("deployed")
    with opened("local", program=original, state=state, pack=None, providers=providers) as stack:
        run = stack.up("--skip-preview")
        assert run.code == 0, run.output
    return state


@pytest.fixture
def ours(original, deployed, providers, tmp_path):
    """Our program, deployed, in a folder and with a state that are the test's own."""
    program = Path(shutil.copytree(original, tmp_path / "program"))
    state = Path(shutil.copytree(deployed, tmp_path / "state"))
    return lambda: opened("local", program=program, state=state, pack=None, providers=providers)


@pytest.fixture
def program(tmp_path, providers):
    """Makes a program of a few lines; returns what opens it."""

    def write(source, *, pack=None, providers=providers, **config):
        folder = tmp_path / "program"
        folder.mkdir(exist_ok=True)
        (folder / "Pulumi.yaml").write_text("{name: few-lines, runtime: python}")
        values = {"aws:region": "eu-west-1", **{f"few-lines:{key}": value for key, value in config.items()}}
        (folder / "Pulumi.test.yaml").write_text(json.dumps({"config": values}))
        (folder / "__main__.py").write_text(f"import pulumi\nimport pulumi_aws as aws\n{textwrap.dedent(source)}")
        return lambda: opened("test", program=folder, state=tmp_path / "state", pack=pack, providers=providers)

    return write


def steps(run):
    """What a run did to each resource other than nothing, in order, as (operation, type, logical name)."""
    pattern = r"^ *[-+~]+ +((?:aws|aws-native|pulumi):\S+) (\S+) +([a-z ]+?) *(?:\([0-9.]+s\))?(?: +\[.*)?$"
    return [(match[3], match[1], match[2]) for match in re.finditer(pattern, run.output, re.MULTILINE)]


def finished(run):
    return [step for step in steps(run) if step[0].split()[0] in {"created", "updated", "deleted", "replaced"}]


def changed(run):
    """The same of a preview with --json: what changes, by resource."""
    document = json.loads(run.output[run.output.index("{") :])
    resources = [(step["op"], *step["urn"].split("::")[2:]) for step in document["steps"] if step["op"] != "same"]
    return {(op, path.rpartition("$")[2], name) for op, path, name in resources}


def change(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def until(happened, what):
    given_up = time.monotonic() + DEADLINE
    while not happened():
        assert time.monotonic() < given_up, f"waited {DEADLINE} s for this: {what}"
        time.sleep(0.01)


# --- previews, with the pack, as `make preview` runs them


@pytest.mark.parametrize("stack", STACKS)
def test_a_preview_works_anywhere_and_changes_no_file_of_the_program(stack, tmp_path):
    tracked = {path: path.read_bytes() for path in graph.ROOT.glob("Pulumi*.yaml")}
    run = subprocess.run(
        [sys.executable, "-m", "sandbox", "preview", "--stack", stack, "--state", tmp_path / "state"],
        cwd=graph.ROOT,
        env={name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    said = run.stdout + run.stderr
    assert run.returncode == 0, said
    assert re.search(r"\+ \d{2,} to create", said), said
    assert "event-gateway@v" in said, "the pack has not run"
    assert DEMOTED not in said
    assert "\x1b[" not in said
    assert {path: path.read_bytes() for path in graph.ROOT.glob("Pulumi*.yaml")} == tracked


def test_what_is_written_is_private(deployed):
    assert deployed.stat().st_mode & 0o077 == 0
    for name in ("passphrase", "secrets.json", "Pulumi.local.yaml"):
        assert (deployed / name).stat().st_mode & 0o777 == 0o600, name


def test_the_state_is_written_without_digests_beside_it(deployed):
    written = [path.name for path in (deployed / "backend" / ".pulumi" / "stacks").rglob("*")]
    assert "local.json" in written
    assert not [name for name in written if name.endswith(".attrs")]


# --- the life of our program


def test_a_second_deployment_changes_nothing(ours):
    with ours() as stack:
        run = stack.up()
    assert run.code == 0, run.output
    assert re.search(r"^ +\d{2,} unchanged$", run.output, re.MULTILINE), run.output
    assert steps(run) == []


def test_a_changed_rate_limit_touches_one_api_destination(ours):
    with ours() as stack:
        change(stack.state / "Pulumi.local.yaml", "rateLimit: 5", "rateLimit: 6")
        run = stack.up("--skip-preview")
    assert run.code == 0, run.output
    assert finished(run) == [("updated", "aws:cloudwatch:EventApiDestination", "globex-orders")]


def test_a_changed_pipe_is_made_anew_before_the_old_one_goes(ours):
    with ours() as stack:
        change(stack.program / "components" / "stream_pipe.py", "_BATCH_SIZE = 10", "_BATCH_SIZE = 9")
        run = stack.up("--skip-preview")
    assert run.code == 0, run.output
    pipe = ("aws-native:pipes:Pipe", "event-gateway-local-orders")
    done = finished(run)
    assert [step for step in done if step[1:] == pipe] == [
        ("created replacement", *pipe),
        ("replaced", *pipe),
        ("deleted original", *pipe),
    ]
    # Its name is new, and the alarms that watch it follow.
    others = {step[:2] for step in done if step[1:] != pipe}
    assert others == {("updated", "aws:cloudwatch:MetricAlarm")}


def test_a_changed_mapping_template_deploys_the_api_again(ours):
    with ours() as stack:
        (template,) = (stack.program / "contracts").rglob("confirm_shipment.request.vtl")
        template.write_text(f"## changed\n{template.read_text()}")
        run = stack.preview("--json")
    assert run.code == 0, run.output
    assert {step for step in changed(run) if step[1].startswith("aws:apigateway/")} == {
        ("update", "aws:apigateway/restApi:RestApi", "orders-api"),
        ("replace", "aws:apigateway/deployment:Deployment", "orders-api"),
        ("update", "aws:apigateway/stage:Stage", "orders-api"),
    }


def test_destroyed_is_empty(ours):
    with ours() as stack:
        assert len(stack.export()["resources"]) > 100
        run = stack.destroy("--skip-preview")
        assert run.code == 0, run.output
        assert stack.export().get("resources", []) == []


def test_no_secret_is_in_the_state_in_clear(deployed, ours):
    secrets = json.loads((deployed / "secrets.json").read_text())
    assert secrets.keys() == {"event-gateway:acmeSecret", "event-gateway:globexSecret"}
    with ours() as stack:
        state = json.dumps(stack.export())
    kept = [path.read_text() for path in (deployed / "backend").rglob("*.json")] + [
        (deployed / "Pulumi.local.yaml").read_text()
    ]
    assert len(kept) > 1
    for secret in secrets.values():
        assert not any(secret in text for text in [state, *kept])


# --- what goes wrong


def test_a_refused_input_stops_the_preview_with_its_place(program):
    source = """
    aws.cloudwatch.EventTarget("orders", rule="orders", arn="arn:aws:sqs:eu-west-1:000000000000:orders",
                               retry_policy={"maximum_retry_attempts": 186})
    """
    with program(source)() as stack:
        run = stack.preview()
    assert run.code != 0
    assert "must be at most 185 (events PutTargets)" in run.output
    assert "retryPolicy.maximumRetryAttempts" in run.output


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ('aws.s3.Bucket("orders")', "do not know the type aws:s3/bucket:Bucket"),
        ("aws.get_region()", "do not know the function aws:index/getRegion:getRegion"),
        ('aws.cloudwatch.LogGroup("orders", skip_destroy=True)', "skipDestroy"),
    ],
)
def test_what_the_providers_do_not_know_is_named(program, source, words):
    with program(source)() as stack:
        run = stack.preview()
    assert run.code != 0
    assert words in run.output


def test_when_the_providers_die_the_state_is_good_and_the_next_run_goes_on(program):
    source = """
    import os, signal

    pid = pulumi.Config().require_int("pid")
    first = aws.cloudwatch.LogGroup("first", name="first")
    if pid:
        # Runs when the first one has been made.
        first.arn.apply(lambda _: pulumi.runtime.is_dry_run() or os.kill(pid, signal.SIGKILL))
    aws.cloudwatch.LogGroup("second", name="second", opts=pulumi.ResourceOptions(depends_on=[first]))
    pulumi.export("arn", first.arn)
    """
    with Providers() as doomed, program(source, providers=doomed, pid=doomed.pid)() as stack:
        run = stack.up("--skip-preview")
        assert run.code != 0
        assert "the local providers were ended from outside" in run.output
        assert [resource["type"] for resource in stack.export()["resources"]].count(
            "aws:cloudwatch/logGroup:LogGroup"
        ) < 2
    with program(source, pid=0)() as stack:
        run = stack.up("--skip-preview")
        assert run.code == 0, run.output
        state = stack.export()
    assert [r["type"] for r in state["resources"]].count("aws:cloudwatch/logGroup:LogGroup") == 2
    assert not state.get("pending_operations")


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_when_the_engine_dies_the_next_run_goes_on(program):
    source = """
    import os, signal
    from pathlib import Path

    def stop(_):
        # This program was started by the language host, and that by the engine.
        engine = Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()[1]
        os.kill(int(engine), signal.SIGKILL)
        # Both would notice in some minutes.
        os.kill(os.getppid(), signal.SIGKILL)
        os._exit(1)

    first = aws.cloudwatch.LogGroup("first", name="first")
    if pulumi.Config().require_bool("dies"):
        first.arn.apply(stop)
    aws.cloudwatch.LogGroup("second", name="second", opts=pulumi.ResourceOptions(depends_on=[first]))
    """
    with program(source, dies=True)() as stack:
        assert stack.up("--skip-preview").code != 0
        assert list((stack.state / "backend" / ".pulumi" / "locks").rglob("*.json")), "the engine ended by itself"
    with program(source, dies=False)() as stack:
        run = stack.up("--skip-preview")
        assert run.code == 0, run.output
        types = [resource["type"] for resource in stack.export()["resources"]]
    assert types.count("aws:cloudwatch/logGroup:LogGroup") == 2


def test_nothing_of_the_caller_s_clouds_reaches_the_program(program, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("PULUMI_ACCESS_TOKEN", "somebody's")
    source = """
    import os

    foreign = {"AWS_PROFILE", "PULUMI_ACCESS_TOKEN"} & os.environ.keys()
    assert not foreign, foreign
    """
    with program(source)() as stack:
        run = stack.preview()
    assert run.code == 0, run.output


def test_neither_engine_nor_program_looks_for_garbage_all_the_time(program):
    source = """
    import gc
    import os

    assert gc.isenabled()
    assert gc.get_threshold()[0] > 10_000, gc.get_threshold()
    assert int(os.environ["GOGC"]) > 100, os.environ["GOGC"]  # the engine's, which hands on its environment
    """
    with program(source)() as stack:
        run = stack.preview()
    assert run.code == 0, run.output


def test_what_is_encrypted_for_somebody_else_is_made_up_here(program):
    source = """
    secret = pulumi.Config().require_secret("acmeSecret")
    secret.apply(lambda known: pulumi.log.info(f"{len(known)} characters"))
    """
    theirs = {"secure": "v1:abc:def"}
    with program(source, carriers=[{"name": "acme"}], acmeSecret=theirs)() as stack:
        run = stack.preview()
    assert run.code == 0, run.output
    assert "32 characters" in run.output


def test_a_second_run_waits_for_the_first_and_says_so(program):
    open_it = program("")
    said, entered = io.StringIO(), threading.Event()

    def second():
        with opened("test", program=first.program, state=first.state, pack=None, providers=first.providers, tell=said):
            entered.set()

    with open_it() as first:
        waiting = threading.Thread(target=second)
        waiting.start()
        until(lambda: "waiting for another run on stack test" in said.getvalue(), "the second run says that it waits")
        assert not entered.is_set()
    assert entered.wait(DEADLINE)
    waiting.join(DEADLINE)


def test_an_engine_that_runs_on_without_us_is_not_disturbed(program, monkeypatch):
    monkeypatch.setattr(stacks, "_ORPHAN_ENDS_WITHIN", 0)
    open_it = program("")
    with open_it() as stack:
        lock = stack.state / "backend" / ".pulumi" / "locks" / "organization" / "few-lines" / "test" / "a.json"
    lock.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()", "pulumi"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as engine:
        engine.stdout.readline()  # it runs
        lock.write_text(json.dumps({"pid": engine.pid}))
        with pytest.raises(stacks.StackError, match=f"process {engine.pid} still runs on stack test"), open_it():
            pass
        assert lock.exists()


def test_an_engine_that_a_killed_run_has_left_is_waited_for_and_one_is_told_so(program):
    open_it = program("")
    said, entered = io.StringIO(), threading.Event()
    with open_it() as stack:
        lock = stack.state / "backend" / ".pulumi" / "locks" / "organization" / "few-lines" / "test" / "a.json"
    lock.parent.mkdir(parents=True, exist_ok=True)

    def next_run():
        with opened("test", program=stack.program, state=stack.state, pack=None, providers=stack.providers, tell=said):
            entered.set()

    command = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()", "pulumi"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as engine:
        engine.stdout.readline()  # it runs
        lock.write_text(json.dumps({"pid": engine.pid}))
        waiting = threading.Thread(target=next_run)
        waiting.start()
        until(lambda: f"waiting for process {engine.pid}, which" in said.getvalue(), "the next run says that it waits")
        assert not entered.is_set()
        engine.stdin.close()
        waiting.join(DEADLINE)
    assert entered.is_set()
    assert not lock.exists()


def test_a_stack_whose_making_was_cut_off_gets_its_configuration_the_next_time(program):
    source = """
    pulumi.export("secret", pulumi.Config().require_secret("acmeSecret"))
    """
    open_it = program(source, carriers=[{"name": "acme"}])
    with open_it() as stack:
        configuration = stack.state / "Pulumi.test.yaml"
    configuration.unlink()
    with open_it() as stack:
        run = stack.up("--skip-preview")
        assert run.code == 0, run.output
    assert "secure" in configuration.read_text()


def deep(innermost):
    """A program of 20 frames, which does this in the last."""
    return f"""
    def down(frames):
        if frames:
            return down(frames - 1)
        {innermost}

    down(20)
    """


def test_the_state_says_where_a_resource_is_made_and_little_more(program):
    with program(deep('aws.sqs.Queue("queue")'))() as stack:
        run = stack.up("--skip-preview")
        assert run.code == 0, run.output
        (queue,) = [it for it in stack.export()["resources"] if it["type"] == "aws:sqs/queue:Queue"]
    assert queue["sourcePosition"] == "project:///__main__.py#7"
    assert [frame["sourcePosition"] for frame in queue["stackTrace"]] == [
        "project:///__main__.py#7",
        *["project:///__main__.py#6"] * 3,
    ]


def test_an_error_of_a_program_is_shown_with_all_its_frames(program):
    with program(deep("raise LookupError('the last')"))() as stack:
        run = stack.preview()
    assert run.code != 0
    assert "LookupError: the last" in run.output
    assert "[Previous line repeated 17 more times]" in run.output
    assert "raise LookupError('the last')" in run.output


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_ctrl_c_ends_everything_in_good_order(tmp_path):
    command = [sys.executable, "-m", "sandbox", "preview", "--stack", "dev", "--state", tmp_path / "state"]
    with subprocess.Popen(
        command,
        cwd=graph.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # as a terminal has its foreground processes in a group of their own
    ) as process:
        begun = next(line for line in process.stdout if " create" in line)
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=DEADLINE)
    assert begun
    assert process.returncode == 1
    assert "cancel" in said
    assert "Traceback" not in said
    until(
        lambda: process.pid not in map(_session, Path("/proc").glob("[0-9]*/stat")), "the end of all that was started"
    )


def _session(stat):
    try:
        return int(stat.read_text().rpartition(")")[2].split()[3])
    except (FileNotFoundError, ProcessLookupError):
        return None


# --- the pack


PACK = graph.ROOT / "policy"
CONNECTIONS = """
def connection(kind, **parameters):
    aws.cloudwatch.EventConnection(kind.lower(), authorization_type=kind, auth_parameters=parameters)

def oauth(secret):
    return {
        "authorization_endpoint": "https://carrier.example/token",
        "http_method": "POST",
        "client_parameters": {"client_id": "us", "client_secret": secret},
    }

def make(secret):
    connection("BASIC", basic={"username": "us", "password": secret})
    header = {"key": "X-Token", "value": secret}
    connection(
        "API_KEY", api_key={"key": "X-Key", "value": secret}, invocation_http_parameters={"headers": [header]}
    )
    connection("OAUTH_CLIENT_CREDENTIALS", oauth=oauth(secret))
"""
CREDENTIALS = (
    "authParameters.basic.password",
    "authParameters.apiKey.value",
    "authParameters.oauth.clientParameters.clientSecret",
    "authParameters.invocationHttpParameters.headers[0].value",
)


@pytest.mark.parametrize("level", ["as it is", "advisory"])
@pytest.mark.parametrize("operation", ["preview", "up"])
def test_a_literal_credential_is_refused_and_shown_nowhere(program, tmp_path, level, operation):
    config = tmp_path / "pack.json"
    config.write_text(json.dumps({"connection-credentials-secret": "advisory"} if level == "advisory" else {}))
    with program(f"{CONNECTIONS}\nmake({CANARY!r})", pack=PACK)() as stack:
        # Without its own preview `up` is refused too, at each resource, before that is made.
        flags = ["--skip-preview"] if operation == "up" else []
        run = getattr(stack, operation)(*flags, "--policy-pack-config", str(config))
        state = json.dumps(stack.export())
    assert run.code != 0
    assert "connection-credentials-secret" in run.output
    assert "Traceback" not in run.output, "the engine interrupts a program that it refuses"
    if level == "as it is":
        # A preview goes on to tell everything, an update ends at the first refusal.
        named = [path for path in CREDENTIALS if path in run.output]
        assert named == list(CREDENTIALS) if operation == "preview" else named
    assert CANARY not in run.output
    assert CANARY not in state


def test_a_secret_credential_is_accepted_however_it_is_wrapped(program, tmp_path):
    source = f"""
    secret = pulumi.Output.secret({CANARY!r})
    make(secret)
    parameters = pulumi.Output.secret({{"basic": {{"username": "us", "password": {CANARY!r}}}}})
    aws.cloudwatch.EventConnection("nested", authorization_type="BASIC", auth_parameters=parameters)
    """
    # How a connection authorises is another rule's, which our own configuration makes mandatory.
    config = tmp_path / "pack.json"
    config.write_text("{}")
    with program(CONNECTIONS + textwrap.dedent(source), pack=PACK)() as stack:
        run = stack.up("--skip-preview", "--policy-pack-config", str(config))
        state = stack.export()
    assert run.code == 0, run.output
    assert DEMOTED not in run.output
    connections = [r for r in state["resources"] if r["type"] == "aws:cloudwatch/eventConnection:EventConnection"]
    assert len(connections) == 4
    assert CANARY not in run.output
    assert CANARY not in json.dumps(state)


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ("", "set invocationRateLimitPerSecond"),
        ("invocation_rate_limit_per_second=301,", "lower invocationRateLimitPerS"),
    ],
)
def test_a_rate_limit_is_chosen_and_within_bounds(program, limit, words):
    source = f"""
    aws.cloudwatch.EventApiDestination(
        "orders", {limit} http_method="POST", invocation_endpoint="https://carrier.example/orders",
        connection_arn="arn:aws:events:eu-west-1:000000000000:connection/a/b",
    )
    """
    with program(source, pack=PACK)() as stack:
        run = stack.preview()
    assert run.code != 0
    assert words in run.output
    assert "Traceback" not in run.output, "the engine interrupts a program that it refuses"
