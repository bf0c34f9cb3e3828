"""The public names of `inceptive`, as a Python user and a type checker meet them."""

import ast
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import inceptive

SOURCE = Path(inceptive.__file__)


def test_every_public_name_is_there_and_documented():
    for name in inceptive.__all__:
        thing = getattr(inceptive, name)
        assert isinstance(thing, dict) or thing.__doc__, name
    assert set(inceptive.__all__) < set(dir(inceptive))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = inceptive.nothing


def test_type_checkers_and_the_interpreter_are_told_the_same():
    [block] = [node for node in ast.parse(SOURCE.read_text()).body if isinstance(node, ast.If)]
    checked = {alias.asname: node.module for node in block.body for alias in node.names}
    assert checked == inceptive._HOME
    assert (SOURCE.parent / "py.typed").is_file()


def test_no_room_has_the_name_of_a_public_one():
    """The import of a submodule sets its name in the package, where it would hide a function."""
    rooms = {path.stem for path in SOURCE.parent.iterdir() if path.suffix in ("", ".py")}
    assert not rooms & set(inceptive.__all__)


@pytest.mark.parametrize("name", sorted(set(inceptive.__all__) - {"NETS"}))
def test_public_names_are_pickled(name):
    thing = getattr(inceptive, name)
    assert pickle.loads(pickle.dumps(thing)) is thing


def test_import_loads_nothing_else():
    code = "import sys; old = set(sys.modules); import inceptive; new = set(sys.modules) - old\n"
    code += "assert not {name for name in new if name.split('.')[0] not in sys.stdlib_module_names"
    code += " | {'inceptive'}}, new; assert len([n for n in new if n.startswith('incep')]) == 1"
    subprocess.run([sys.executable, "-c", code], check=True)
