"""Modules that ordinary applications use: the simulated board has them, or says it does not."""

import socket
import threading

import pytest
from boards import board_that_runs
from mpota.sim.rom_modules.names import FROZEN, MISSING


def said_by(folder, script, **options):
    """Run *script*; return the lines it prints after "begin"."""
    with board_that_runs(folder, f"print('begin')\n{script}\nprint('end')\n", **options) as board:
        board.wait_for("^end$|^Traceback")
        begin = board.lines.index("begin")
        return board.lines[begin + 1 : board.lines.index("end")]


@pytest.mark.parametrize(
    ("use", "says"),
    [
        ("ADC(0).read() in range(1025), machine.ADC(0).read_u16() < 65536", "True True"),
        ("PWM(pin, freq=50, duty=77).duty(), machine.PWM(pin).freq()", "77 50"),
        ("PWM(pin, freq=100, duty_u16=32768).duty(), machine.PWM(pin).duty_u16()", "512 32767"),
        ("SoftI2C(pin, machine.Pin(5)).scan(), machine.I2C(scl=pin, sda=pin).scan()", "[] []"),
        ("SPI(1, baudrate=1000).read(2), machine.SPI(1).write(b'x')", "b'\\x00\\x00' None"),
        ("SoftSPI(sck=pin, mosi=pin, miso=pin).read(1)", "b'\\x00'"),
        ("UART(1, 9600).write(b'lost'), machine.UART(0, rxbuf=99).any()", "4 0"),
        ("Signal(machine.Pin(2, machine.Pin.OUT, value=0), invert=True).value()", "1"),
        ("Pin(12, machine.Pin.OUT).toggle(), machine.Pin(12).value()", "None 1"),
        ("Pin(16, machine.Pin.IN), machine.Pin(5).irq(print).trigger()", "Pin(16) 3"),
        ("disable_irq(), machine.enable_irq(0), machine.lightsleep(1)", "0 None None"),
    ],
)
def test_a_stand_in_does_what_the_program_can_see_of_the_real_thing(tmp_path, use, says):
    script = f"import machine\npin = machine.Pin(4)\nprint(*(machine.{use},))"
    assert said_by(tmp_path, script) == [says]


@pytest.mark.parametrize(
    ("use", "error"),
    [
        ("ADC(2)", "ValueError ADC(2) doesn't exist"),
        ("PWM(machine.Pin(16))", "ValueError PWM not supported on pin 16"),
        ("I2C(pin, pin).readfrom(0x3C, 1)", "OSError [Errno 19] ENODEV"),
        ("SoftI2C(pin, pin).writeto_mem(0x3C, 0, b'x')", "OSError [Errno 19] ENODEV"),
        ("UART(2)", "ValueError UART(2) does not exist"),
        ("UART(1).read()", "OSError UART(1) can't read"),
        ("SPI(0)", "ValueError "),
        ("Pin(16, machine.Pin.IN, machine.Pin.PULL_UP)", "ValueError Pin(16) doesn't support pull"),
        ("Pin(16).irq(print)", "OSError pin does not have IRQ capabilities"),
        *((f"Pin({number})", "ValueError invalid pin") for number in (6, 7, 8, 11, 17, -1)),
        ("bitstream(pin, 0, (), b'')", "NotImplementedError machine.bitstream is not simulated"),
        ("time_pulse_us(pin, 1)", "NotImplementedError machine.time_pulse_us is not simulated"),
        ("mem8[0x60000300]", "NotImplementedError machine.mem8 is not simulated"),
    ],
)
def test_what_the_chip_refuses_and_what_is_not_simulated_is_an_error_of_one_line(
    tmp_path, use, error
):
    script = f"""
import machine
pin = machine.Pin(4)
try:
    machine.{use}
except Exception as e:
    print(type(e).__name__, e)
"""
    assert said_by(tmp_path, script) == [error]


def test_the_console_may_be_written_to_by_its_uart(tmp_path):
    assert said_by(tmp_path, "import machine\nmachine.UART(0).write(b'hello\\n')") == ["hello"]


FROZEN_SCRIPT = """
import machine
pin = machine.Pin(4)
import dht
sensor = dht.DHT22(pin)
sensor.measure()
print("dht", sensor.temperature(), sensor.humidity())
import onewire, ds18x20
bus = ds18x20.DS18X20(onewire.OneWire(pin))
bus.convert_temp()
print("ds18x20", [bus.read_temp(rom) for rom in bus.scan()])
import neopixel, apa102
for strip in neopixel.NeoPixel(pin, 3), apa102.APA102(pin, machine.Pin(5), 3, bpp=3):
    strip.fill((0, 0, 9))
    strip[1] = (1, 2, 3)
    strip.write()
    print("strip", strip[0], strip[1], len(strip))
import ssd1306
display = ssd1306.SSD1306_I2C(128, 64, machine.I2C(pin, pin))
display.text("hello", 0, 0)
display.show()
print("display", any(display.buffer), display.pixel(127, 63), len(display.buffer))
import requests, asyncio, framebuf, websocket
from umqtt.simple import MQTTClient
import umqtt.robust
print("mqtt", issubclass(umqtt.robust.MQTTClient, MQTTClient))
"""


def test_the_modules_that_are_frozen_into_the_firmware_can_be_used(tmp_path):
    assert said_by(tmp_path, FROZEN_SCRIPT) == [
        "dht 21.5 48.2",
        "ds18x20 [21.5]",
        "strip (0, 0, 9) (1, 2, 3) 3",
        "strip (0, 0, 9) (1, 2, 3) 3",
        "display True 0 1024",
        "mqtt True",
    ]


def test_a_frozen_module_takes_heap_when_it_is_imported_and_not_before(tmp_path):
    script = """
import gc
gc.collect()
before = gc.mem_free()
import dht
gc.collect()
print("takes", before - gc.mem_free())
import dht
gc.collect()
print("takes", before - gc.mem_free())
"""
    first, second = [int(line.split()[1]) for line in said_by(tmp_path, script)]
    # The module has two classes, their base and five functions. Each takes at least 32 bytes.
    assert 8 * 32 <= first < 4096
    assert second == first


def test_a_frozen_module_comes_before_an_application_s(tmp_path):
    script = """
with open("/lib_dht.py", "w") as f:
    f.write("SHADOW = True")
import os
os.mkdir("/lib")
os.rename("/lib_dht.py", "/lib/dht.py")
import dht
print(hasattr(dht, "SHADOW"))
"""
    assert said_by(tmp_path, script) == ["False"]


@pytest.mark.parametrize("name", MISSING)
def test_a_module_of_the_firmware_that_is_not_there_says_so_in_one_line(tmp_path, name):
    script = f"try:\n import {name}\nexcept NotImplementedError as e:\n print(e)"
    assert said_by(tmp_path, script) == [f"{name} is not simulated"]


def test_webrepl_can_be_imported_and_says_that_it_is_not_simulated(tmp_path):
    script = "import webrepl\ntry:\n webrepl.start()\nexcept NotImplementedError as e:\n print(e)"
    assert said_by(tmp_path, script) == ["webrepl is not simulated"]
    assert "webrepl" in FROZEN


def test_a_program_that_reserves_memory_for_errors_in_interrupts_runs(tmp_path):
    script = """
import micropython
micropython.alloc_emergency_exception_buf(100)
print(micropython.const(5), micropython.opt_level(), micropython.heap_unlock.__class__.__name__)
"""
    assert said_by(tmp_path, script) == ["5 0 function"]


class Broker:
    """An MQTT broker for one client: takes what comes, and sends a message to each subscriber."""

    def __init__(self, ip):
        self.packets = []
        self._listener = socket.create_server((ip, 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        client, _ = self._listener.accept()
        with client, client.makefile("rb") as stream:
            while head := stream.read(2):
                kind, body = head[0], stream.read(head[1])
                self.packets.append((kind, body))
                if kind == 0x10:
                    client.sendall(b"\x20\x02\x00\x00")
                elif kind == 0x82:
                    client.sendall(b"\x90\x03" + body[:2] + b"\x00")
                    client.sendall(b"\x30\x09\x00\x03tapopen")
                elif kind & 0xF6 == 0x32:
                    client.sendall(b"\x40\x02" + body[-5:-3])


def test_the_mqtt_client_talks_to_a_broker(tmp_path):
    broker = Broker("127.0.0.1")
    script = f"""
import network
from umqtt.simple import MQTTClient
network.WLAN(network.STA_IF).active(True)
network.WLAN(network.STA_IF).connect("simulated", "")
client = MQTTClient(b"garden", "127.0.0.1", {broker.port}, user="u", password="p", keepalive=60)
client.set_callback(lambda topic, message: print("got", topic, message))
client.set_last_will("state", "gone")
print("connected", client.connect())
client.publish("state", b"dry", retain=True)
client.publish("state", b"wet", qos=1)
client.subscribe(b"tap")
client.wait_msg()
print("nothing", client.check_msg())
client.ping()
client.disconnect()
"""
    said = said_by(tmp_path, script)
    assert said == ["connected 0", "got b'tap' b'open'", "nothing None"]
    kinds = [kind for kind, _ in broker.packets[:4]]
    assert kinds == [0x10, 0x31, 0x32, 0x82]
    assert broker.packets[0][1] == (
        b"\x00\x04MQTT\x04\xc6\x00\x3c\x00\x06garden\x00\x05state\x00\x04gone\x00\x01u\x00\x01p"
    )


# os.dupterm


def test_what_is_printed_goes_to_the_stream_that_the_console_is_duplicated_on(tmp_path):
    script = """
import io, os
class Copy(io.IOBase):
    data = b""
    def write(self, data):
        Copy.data += data
        return len(data)
copy = Copy()
before = os.dupterm(copy)
print("seen", before, sep="-")
taken_off = os.dupterm(None) is copy
print(taken_off, Copy.data)
print("unseen")
print(Copy.data.endswith(b"unseen"))
"""
    assert said_by(tmp_path, script) == [
        "seen-None",
        "True b'seen-None\\r\\n'",
        "unseen",
        "False",
    ]


def test_a_stream_that_raises_is_taken_off_the_console(tmp_path):
    script = """
import io, os
class Broken(io.IOBase):
    def write(self, data):
        raise ValueError("broken")
os.dupterm(Broken())
print("one")
print("two")
print(os.dupterm(None))
"""
    said = said_by(tmp_path, script)
    assert said[:2] == [
        "one",
        "dupterm: Exception in write() method, deactivating: Traceback (most recent call last):",
    ]
    assert said[-3:] == ["ValueError: broken", "two", "None"]


def test_a_console_that_is_taken_off_its_port_is_told_and_can_be_put_back(tmp_path):
    script = """
import machine, os
uart = os.dupterm(None, 1)
print(isinstance(uart, machine.UART), os.dupterm(uart, 1), os.dupterm(uart, 1) is uart)
for wrong in (lambda: os.dupterm(None, 2), lambda: os.dupterm(5)):
    try:
        wrong()
    except (ValueError, OSError) as e:
        print(e)
"""
    assert said_by(tmp_path, script) == [
        "os.dupterm: the console is detached; a chip prints nothing more on its serial port",
        "True None True",
        "invalid dupterm index",
        "stream operation not supported",
    ]


# Wi-Fi


def test_only_the_network_that_there_is_can_be_joined(tmp_path):
    script = """
import network, time
station = network.WLAN(network.WLAN.IF_STA)
station.active(True)
print(*[found[0] for found in station.scan()])
for name in ("roses", "weeds"):
    station.connect(name, "key")
    print(name, station.status() == network.STAT_NO_AP_FOUND, station.isconnected())
"""
    said = said_by(tmp_path, script, ssid="roses")
    assert said == ["b'roses'", "roses False True", "weeds True False"]
