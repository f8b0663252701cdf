"""What a person gets wrong on the command line, and what a machine denies: one sentence, and nothing half done."""

import errno
import os
import shutil
import signal
import sys
import tempfile
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from engine import EngineError
from sandbox import cli, cloud, ministack, session, stack
from sandbox.cli import app
from sandbox.control import MODES
from sandbox.ministack import MiniStackError
from sandbox.private import kept_in, write_private
from sandbox.session import SessionError
from sandbox.stack import Run, StackError, mapping

MEND = "make room and make it writable, or name another folder with --state\n"


def said(*arguments):
    """A command's exit code and what it printed; whatever else it raises is a traceback."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


# --- where the state is kept


@pytest.mark.parametrize("command", ["up", "preview"])
def test_a_state_that_is_no_folder_is_named_with_the_remedy(tmp_path, command):
    state = tmp_path / "a-file"
    state.write_text("mine")
    assert said(command, "--state", state) == (1, f"the state can't be kept in {state}: File exists: {MEND}")
    assert state.read_text() == "mine"


@pytest.mark.parametrize("command", ["status", "down"])
def test_where_there_can_be_no_state_nothing_runs(tmp_path, command):
    (tmp_path / "a-file").write_text("mine")
    assert said(command, "--state", tmp_path / "a-file" / "state")[1].startswith("nothing runs")


@pytest.mark.parametrize("command", ["up", "preview"])
def test_a_disk_without_room_is_named_before_anything_starts(tmp_path, monkeypatch, command):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=64 * 2**20 - 1))
    started = []
    monkeypatch.setattr(stack, "locate", lambda: started.append("engine"))
    monkeypatch.setattr(cli, "locate", lambda: None)
    monkeypatch.setattr(session, "found", lambda _: started.append("cloud"))
    code, output = said(command, "--state", tmp_path / "state")
    assert (code, started) == (1, [])
    assert output == (
        f"63 MB are free where the state is kept, in {tmp_path / 'state'}, and 64 are needed: "
        "make room, or name another folder with --state\n"
    )


@pytest.mark.parametrize("refused", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_what_the_disk_refuses_is_a_sentence_about_the_folder(tmp_path, refused):
    sentence = f"^the state can't be kept in {tmp_path}: {os.strerror(refused)}: "
    with pytest.raises(SessionError, match=sentence), kept_in(tmp_path, SessionError):
        raise OSError(refused, os.strerror(refused))


def test_what_is_no_matter_of_the_disk_stays_what_it_is(tmp_path):
    with pytest.raises(ConnectionRefusedError), kept_in(tmp_path, SessionError):
        raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))


def test_a_file_of_ours_that_is_lost_is_no_matter_of_the_disk(tmp_path):
    with pytest.raises(FileNotFoundError), kept_in(tmp_path, SessionError):
        (tmp_path / "lost").read_text()


def test_a_disk_that_fills_while_a_stack_is_prepared_is_named(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(stack, "write_private", full)
    code, output = said("preview", "--state", tmp_path / "state")
    assert (code, output) == (
        1,
        f"the state can't be kept in {tmp_path / 'state'}: {os.strerror(errno.ENOSPC)}: {MEND}",
    )


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    file = tmp_path / "file"
    write_private(file, "whole")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fdopen", full)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        write_private(file, "another")
    assert file.read_text() == "whole"


def test_a_cloud_whose_emulator_does_not_come_up_ends_with_its_words_and_leaves_nothing(tmp_path, monkeypatch):
    def taken(**_):
        raise MiniStackError("MiniStack ended with 1:\nport 4566 is already in use")

    monkeypatch.setattr(ministack, "start", taken)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(sys, "argv", ["cloud", str(tmp_path), "--region", "eu-west-1", "--program", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"^MiniStack ended with 1:\nport 4566 is already in use$"):
        cloud.main()
    assert list(tmp_path.iterdir()) == []


# --- after a kill


@pytest.mark.parametrize(("pending", "explained"), [([], False), ([{"type": "creating"}], True)])
def test_an_update_that_fails_after_a_kill_says_how_to_start_anew(tmp_path, monkeypatch, pending, explained):
    class Failing:
        def up(self):
            return Run(7)

        def export(self):
            return {"pending_operations": pending}

    monkeypatch.setattr(cli, "locate", lambda: None)
    monkeypatch.setattr(session, "start", lambda *_, **__: SimpleNamespace(instance="one"))
    monkeypatch.setattr(cli, "opened", lambda *_, **__: nullcontext(Failing()))
    code, output = said("up", "--state", tmp_path)
    assert code == 7
    assert ("`make down` ends all of it, and `make up` starts anew" in output) is explained
    assert not (tmp_path / "outputs.json").exists()


# --- what is needed before anything starts


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ("config: [", "Pulumi.local.yaml is no YAML: "),
        ("config:\n", "aws:region in Pulumi.local.yaml must be the name of a region, such as eu-west-1\n"),
        ("config: {aws:region: 5}", "aws:region in Pulumi.local.yaml must be the name of a region"),
        ("config: {aws:region: Ireland}", "aws:region in Pulumi.local.yaml must be the name of a region"),
    ],
)
def test_without_a_region_no_cloud_starts(tmp_path, monkeypatch, settings, sentence):
    (tmp_path / "Pulumi.local.yaml").write_text(settings)
    monkeypatch.setattr(cli, "ROOT", tmp_path)
    monkeypatch.setattr(session, "start", lambda *_, **__: pytest.fail("a cloud was started"))
    code, output = said("up", "--state", tmp_path / "state")
    assert code == 1
    assert output.startswith(sentence)
    assert len(output.splitlines()) == 1


def test_without_an_engine_no_cloud_starts(tmp_path, monkeypatch):
    def none():
        raise EngineError("There is no Pulumi engine here.")

    monkeypatch.setattr(cli, "locate", none)
    monkeypatch.setattr(session, "start", lambda *_, **__: pytest.fail("a cloud was started"))
    assert said("up", "--state", tmp_path / "state") == (1, "There is no Pulumi engine here.\n")
    assert not (tmp_path / "state").exists()


def test_settings_that_are_no_text_are_no_yaml(tmp_path):
    file = tmp_path / "Pulumi.test.yaml"
    file.write_bytes(b"config: \xff")
    with pytest.raises(StackError, match=r"^Pulumi\.test\.yaml is no YAML: "):
        mapping(file)


# --- arguments


def test_a_mode_that_there_is_not_is_refused_with_those_that_there_are(tmp_path):
    assert said("carrier", "--mode", "nonsense", "--state", tmp_path) == (
        2,
        f"there is no mode nonsense: it is one of {', '.join(MODES)}\n",
    )
