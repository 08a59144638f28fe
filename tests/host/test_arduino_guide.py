"""docs/ARDUINO.md: its recipes make an image of a folder, and mpota has its commands."""

import configparser
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from mpota import image
from mpota.cli import app

GUIDE = (Path(__file__).parents[2] / "docs" / "ARDUINO.md").read_text()


def blocks(kind):
    """Return the fenced blocks of that kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```", GUIDE, re.M | re.S)


def parses(words):
    """Parse a command line of mpota as the tool does; fail if the tool would fail."""
    name, command, *arguments = words
    assert name == "mpota"
    group = typer.main.get_command(app)
    with group.make_context("mpota", [command, *arguments]) as context:
        return group.get_command(context, command).make_context(command, arguments).params


@pytest.fixture
def sketch(tmp_path, garden):
    """Make a sketch's folder with an application in `board`, and what was built of the sketch."""
    garden.rename(tmp_path / "board")
    built = tmp_path / "sketch.ino.bin"
    built.write_bytes(b"\xe9 what was built of the sketch")
    return tmp_path, built


def run_by_shell(command, folder):
    """Run a recipe's command, where `mpota` is this interpreter's."""
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    tool = bin_folder / "mpota"
    tool.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mpota "$@"\n')
    tool.chmod(0o755)
    subprocess.run(
        ["sh", "-c", f'PATH="{bin_folder}:$PATH"; {command}'], check=True, cwd=folder, timeout=60
    )


def test_the_uploader_of_mpota_is_started_as_the_tool_takes_it():
    settings = configparser.ConfigParser(interpolation=None)
    settings.read_string(blocks("ini")[0])
    garden = settings["env:garden"]
    assert garden["upload_protocol"] == "custom"
    found = parses(shlex.split(garden["upload_command"]))
    assert (found["file"], found["ip"]) == (Path("board"), ["garden.local"])


def test_platformio_s_own_uploader_gets_an_image(sketch):
    folder, built = sketch
    settings = configparser.ConfigParser(interpolation=None)
    settings.read_string(blocks("ini")[1])
    garden = settings["env:garden"]
    assert garden["upload_protocol"] == "espota" and garden["extra_scripts"].startswith("post:")
    actions = []

    class Env:
        """What PlatformIO gives a script."""

        def AddPostAction(self, target, action):  # noqa: N802
            assert target == "$BUILD_DIR/${PROGNAME}.bin"
            actions.append(action)

        def Execute(self, command):  # noqa: N802
            run_by_shell(command, folder)

    class Target:
        def get_abspath(self):
            return str(built)

    names = {"env": Env()}
    script = next(block for block in blocks("python") if 'Import("env")' in block)
    exec(script, names | {"Import": lambda name: None})  # noqa: S102
    actions[0](None, [Target()], names["env"])
    assert image.read(built.read_bytes()).manifest.name == "garden"


def test_the_ide_s_own_uploader_gets_an_image(sketch):
    folder, built = sketch
    (line,) = [line for line in GUIDE.splitlines() if line.startswith("recipe.hooks.objcopy")]
    command = line.partition("=")[2]
    for name, value in {
        "build.source.path": folder, "build.path": folder, "build.project_name": "sketch.ino",
    }.items():  # fmt: skip
        command = command.replace(f"{{{name}}}", str(value))
    assert "{" not in command
    run_by_shell(command, folder)
    assert image.read(built.read_bytes()).manifest.name == "garden"


def test_the_ide_starts_the_uploader_of_mpota_as_the_tool_takes_it():
    (line,) = [line for line in GUIDE.splitlines() if line.startswith("tools.esptool.upload.net")]
    command = line.partition("=")[2]
    for name, value in {
        "build.source.path": "/s", "serial.port": "192.168.0.7", "network.port": "8266",
        "network.password": "geheim",
    }.items():  # fmt: skip
        command = command.replace(f"{{{name}}}", value)
    found = parses(shlex.split(command))
    assert (found["file"], found["ip"], found["port"]) == (Path("/s/board"), ["192.168.0.7"], 8266)
    assert (found["auth"], found["no_wait"]) == ("geheim", True)


def test_every_command_of_the_guide_is_one_of_ours():
    lines = [line for block in blocks("") for line in block.splitlines()]
    ours = [line for line in lines if line.startswith("mpota ")]
    assert ours
    for line in ours:
        parses(shlex.split(line))
