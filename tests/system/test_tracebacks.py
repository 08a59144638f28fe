"""Tracebacks of the application and of the package name the file, the line and the function."""

import re

import boards
import pytest
from device import APP, COMMANDED_APP, Device

pytestmark = pytest.mark.parallel

LIBRARY = """
# A line that counts.
def measure(sensor):
    return 1 / sensor
"""
FAILING_APP = APP.replace(
    "        ota.handle()\n", "        ota.handle()\n        if ota.healthy:\n            fail()\n"
).replace(
    "def main(ota)",
    """def fail():
    import sys
    from sensors.water import measure
    try:
        measure(0)
    except ZeroDivisionError as e:
        sys.print_exception(e)
        sys.exit()

def main(ota)""",
)


def test_an_application_is_named_by_its_path_on_the_board_with_line_and_function(device):
    device.spoiled = True
    start = device.said
    device.upload(device.next_image(FAILING_APP, {"lib/sensors/water.py": LIBRARY.encode()}))
    found = device.board.wait_for(r'File "/app/(.*)", line (\d+), in measure', start=start)
    assert found.groups() == ("lib/sensors/water.mpy", "4")
    source = FAILING_APP.splitlines()
    line = 1 + source.index("        measure(0)")
    device.board.wait_for(f'File "/app/app.mpy", line {line}, in fail', start=start)
    device.app = APP
    device.takes_an_update()


def test_the_package_is_named_by_its_path_in_the_system_rom_with_lines_and_functions(tmp_path):
    # A program has set a setting to a wrong value, and this makes the listener fail.
    with Device(tmp_path, COMMANDED_APP) as device:
        start = device.command("ota.settings.update({'step_ms': 'long'})")
        device.board.wait_for("TypeError", start=start)
        found = "\n".join(device.board.lines[start:])
        frames = re.findall(r'File "/rom/lib/(ota/\S+)\.mpy", line (\d+), in (\w+)', found)
        assert [function for *_, function in frames][:2] == ["handle", "handle"]
        for module, line, function in frames:
            source = (boards.ROOT / "lib" / f"{module}.py").read_text().splitlines()
            before = [text.strip() for text in source[: int(line)] if "def " in text]
            assert before[-1].startswith(f"def {function}(") or function == "<module>"
        device.command("ota.settings.update({'step_ms': 25})")
        device.takes_an_update()
