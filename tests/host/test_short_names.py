"""Names that are replaced in what goes on the board."""

import ast
import io
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest
from mpota.board.files import IN_FIRMWARE, device_root
from mpota.board.short_names import pairs, with_short_names

PACKAGE = sorted((device_root() / "lib" / "ota").glob("*.py"))


def names_in(source: str) -> set[str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.string for token in tokens if token.type == tokenize.NAME}


def test_private_names_are_replaced_by_the_same_few_everywhere():
    assert with_short_names("def _verify(_key):\n    return _key\n", {}) == (
        "def _a(_b):\n    return _b\n"
    )
    assert with_short_names("x = _other(_verify)\n", {}) == "x = _a(_b)\n"
    assert with_short_names("self._key, self.key = 1, 2\n", {}) == "self._a, self.key = 1, 2\n"


def test_those_in_capitals_come_last():
    source = "_SIZE = const(4)\n_TABLE = {}\n_read = _TABLE.get\n"
    assert with_short_names(source, {}) == "_b = const(4)\n_c = {}\n_a = _c.get\n"


def test_after_z_come_names_of_two_letters():
    names = [f"_name{i}" for i in range(28)]
    replaced = with_short_names("\n".join(names), {}).split("\n")
    assert replaced[:1] + replaced[25:] == ["_a", "_z", "_aa", "_ab"]
    assert len(set(replaced)) == 28


def test_names_between_underscores_and_a_lone_one_stay():
    source = "def __init__(self):\n    for _ in self.__dict__: pass\n"
    assert with_short_names(source, {}) == source


def test_a_name_of_the_firmware_takes_the_place_of_another_wherever_it_stands():
    source = "def send(session, deadline=1): session.deadline = send(deadline=deadline)\n"
    assert with_short_names(source, {"deadline": "cos", "session": "sin"}) == (
        "def send(sin, cos=1): sin.cos = send(cos=cos)\n"
    )


def test_texts_comments_and_parts_of_names_stay():
    source = 'deadlines = "deadline _key"  # deadline _key\n'
    assert with_short_names(source, {"deadline": "cos"}) == source


def test_only_a_newline_ends_a_line():
    source = 'x = "a\x0cb\u2028c"\ndeadline = 1\n'
    assert with_short_names(source, {"deadline": "cos"}) == source.replace("deadline", "cos")


@pytest.mark.parametrize("text", ['f"{deadline}"', "Rf'''{deadline}'''", "'a' fr'{deadline}'"])
def test_an_f_string_whose_names_would_be_missed_is_an_error(text):
    with pytest.raises(ValueError, match="use % instead"):
        with_short_names(f"x = {text}\n", {"deadline": "cos"})


@pytest.mark.parametrize("text", ["b'f'", "'off'", 'r"f{x}"'])
def test_a_string_that_merely_has_an_f_in_it_is_none(text):
    assert with_short_names(f"x = {text}\n", {}) == f"x = {text}\n"


def test_pairs_are_separated_by_any_white_space():
    assert pairs("a=b\n  c=d e=f\n") == {"a": "b", "c": "d", "e": "f"}


def names_of_the_package() -> set[str]:
    return set.union(*(names_in(path.read_text()) for path in PACKAGE))


def test_every_name_that_is_replaced_is_still_in_use():
    assert set(IN_FIRMWARE) <= names_of_the_package()


def test_what_names_are_replaced_by_means_one_of_them_only():
    assert len(set(IN_FIRMWARE.values())) == len(IN_FIRMWARE)
    assert not set(IN_FIRMWARE.values()) & names_of_the_package()


def test_the_interpreter_has_the_names_that_are_put_in():
    script = "import micropython\ndef f(x):\n" + "".join(
        f"    x.{name}\n" for name in [*IN_FIRMWARE.values(), "not_in_firmware"]
    )
    said = subprocess.run(
        [sys.executable, "-m", "micropython_unix", "-c", script + "micropython.qstr_info(1)\n"],
        capture_output=True, check=True, text=True,
    ).stdout  # fmt: skip
    # The names that had to be put into the table beside its own.
    added = {line[2:-1] for line in said.splitlines() if line.startswith("Q(")}
    assert "not_in_firmware" in added
    assert not added & set(IN_FIRMWARE.values())


# What an application can reach. Not `_private` there, and not these, of which no document speaks.
API = {
    "__init__.py": {"Callbacks", "OTA", "forget_modules"},
    "errors.py": {"OTAError"},
    "espota.py": {"ArduinoOTA"},
    "hal.py": {"reset"},
    "log.py": {"info", "error"},
    "updater.py": {"Updater"},
}
INTERNAL = {
    "joined", "begun", "since", "last",  # of OTA: begin.py's clocks
    "fail", "failures", "is_off",
}  # fmt: skip


def public_names(path: Path, classes_and_functions: set[str]) -> set[str]:
    """Give the names that those parts of a module show: attributes, methods and parameters."""
    names = set()
    for part in ast.parse(path.read_text()).body:
        if getattr(part, "name", None) not in classes_and_functions:
            continue
        for node in ast.walk(part):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names.add(node.name)
            is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            if is_function and (node.name[0] != "_" or node.name == "__init__"):
                names |= {a.arg for a in [*node.args.args, *node.args.kwonlyargs]}
        if isinstance(part, ast.ClassDef):
            names |= {
                target.id
                for statement in part.body
                if isinstance(statement, ast.Assign)
                for target in statement.targets
                if isinstance(target, ast.Name)
            }
    return {name for name in names if not name.startswith("_")}


def test_a_name_that_an_application_may_use_is_not_replaced():
    root = device_root() / "lib" / "ota"
    public = set.union(*(public_names(root / name, parts) for name, parts in API.items()))
    assert {"on_start", "gate", "confirm", "set_md5", "expected_sha256", "seconds"} <= public
    assert public & set(IN_FIRMWARE) <= INTERNAL


def test_what_start_uses_of_a_slot_s_own_package_is_not_replaced():
    # The start.py that was flashed runs with the lib/ota of a release, which may be a later one.
    tree = ast.parse((device_root() / "lib" / "ota" / "start.py").read_text())
    own = {"put_first", "slot"}  # of the package that start.py itself belongs to
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    used |= {a.name for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for a in n.names} - own
    assert {"OTA", "begin", "handle", "forget_modules"} <= used
    assert not used & set(IN_FIRMWARE)
