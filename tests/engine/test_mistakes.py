"""What a user gets wrong before the engine is even asked: one sentence, no traceback, nothing half done."""

import json

import pytest

from sandbox.provider import Providers
from sandbox.stack import StackError, opened


@pytest.fixture(scope="module")
def providers():
    with Providers() as providers:
        yield providers


@pytest.fixture
def program(tmp_path):
    """A program that does nothing, with settings as they are written."""
    folder = tmp_path / "program"
    folder.mkdir()
    (folder / "Pulumi.yaml").write_text("{name: nothing, runtime: python}")
    (folder / "__main__.py").write_text("import pulumi\n")

    def write(settings):
        (folder / "Pulumi.test.yaml").write_text(settings)
        return folder

    return write


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ("foo: [bar", r"^Pulumi\.test\.yaml is no YAML: .*line 1"),
        ("[1]", r"^Pulumi\.test\.yaml must hold a mapping"),
        ("config: 5", r"^Pulumi\.test\.yaml must hold a mapping"),
    ],
)
def test_settings_that_are_none_are_named(program, providers, tmp_path, settings, sentence):
    folder = program(settings)
    options = {"program": folder, "state": tmp_path / "state", "pack": None, "providers": providers}
    with pytest.raises(StackError, match=sentence) as refused, opened("test", **options):
        pass
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("carriers", [7, [5], [{"auth": "basic"}], [{"name": "a:b"}], [{"name": ["a"]}]])
def test_carriers_that_are_none_are_left_to_the_program(program, providers, tmp_path, carriers):
    folder = program(json.dumps({"config": {"aws:region": "eu-west-1", "nothing:carriers": carriers}}))
    with opened("test", program=folder, state=tmp_path / "state", pack=None, providers=providers) as stack:
        assert stack.preview().code == 0


def test_a_stack_that_the_program_does_not_have_is_named_before_anything_is_made(program, tmp_path):
    folder = program("config: {}")
    sentence = r"^there is no Pulumi\.nonsense\.yaml: the stacks of this program are test$"
    with (
        pytest.raises(StackError, match=sentence),
        opened("nonsense", program=folder, state=tmp_path / "state", pack=None),
    ):
        pass
    assert not (tmp_path / "state").exists()


def test_a_state_that_can_not_be_kept_is_named(program, providers, tmp_path):
    folder = program("config: {}")
    (tmp_path / "a-file").write_text("")
    options = {"program": folder, "state": tmp_path / "a-file" / "state", "pack": None, "providers": providers}
    with pytest.raises(StackError, match=r"the state can't be kept in .*a-file"), opened("test", **options):
        pass
