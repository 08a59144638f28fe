"""The files that go on a board: boot.py, main.py, the compiled package, settings, an application.

The layout of `/.ota` is that of docs/SPEC.md.
"""

import hashlib
import io
import json
import struct
import tarfile
from pathlib import Path

from mpota.board.short_names import pairs, with_short_names
from mpota.image import Manifest
from mpota.image.compile import BOARD_ARCHITECTURE, compile_module

_RECORD = "<4sIBBBBIIII32s"

# Names in lib/ota that no application has to do with, and what they are on the board: names that
# MicroPython's own modules have. Tracebacks of a board show these.
IN_FIRMWARE = pairs("""
    address=acos admit=addressof after=appendleft answer=asin ask_at=atan at=atan2
    attempts=b2a_base64 authenticate=blit become_healthy=bound_method begin_anew=bytearray_at
    begun=byteorder bits=bytes_at block=calcsize blocks=call_exception_handler boot_record=ceil
    boots=closure change=copysign check=cos check_signed=current_task chip_id=degrees
    cnonce=dict_view counters=difference_update deadline=discard der=divmod drop_pending=unpack_from
    fail=dump failures=dumps field=ellipse file_digest=errorcode files=exp folder=fabs
    found=fill_rect generation=fmod give_up=frexp high=fromkeys image_bytes=frozenset
    installs=gather is_off=generator is_past=get_event_loop is_required=get_extra_info
    joined=getrandbits KEYS=getvalue last=gmtime left=heap_lock legacy=heap_unlock letter=heapify
    limit=heappop listener=heappush load_for_update=hline low=intersection
    make_room=intersection_update Manifest=isalpha matches=isdisjoint MD5=isenabled ms=isfinite
    new=isinf nonce=islower of_image=isnan open_session=isspace overrides=issubclass
    own_until=issubset period_ms=issuperset put_first=isupper read_back=iterator read_keys=kbd_intr
    read_line=ldexp read_manifest=loads read_settings=localtime read_trailer=lstrip Record=maxsize
    rejected=mem_info response=mktime result=modf running=namedtuple seen=new_event_loop
    services=open_connection Session=opt_level set_counters=pack_into since=pend_throw sink=pixel
    size_bytes=popitem slot=popleft small_buffer=qstr_info steps=radians tag=readlines take=rindex
    take_datagram=rsplit tcp=rstrip timer=run_until_complete total_bytes=scroll
    transfer=server_hostname udp=sin view=sleep_us visit=sqrt Watchdog=stack_use what=start_server
    woke_from_sleep=symmetric_difference word=symmetric_difference_update words=tan
""")


def device_root() -> Path:
    """Return the folder with boot.py, main.py and lib: the wheel's own, or the source checkout."""
    installed = Path(__file__).parents[1] / "device"
    return installed if installed.is_dir() else Path(__file__).parents[3]


def device_files(
    architecture: str = BOARD_ARCHITECTURE, *, short_names: bool = True
) -> dict[str, bytes]:
    """Return boot.py, main.py and lib/ota compiled for *architecture*: absolute name → content.

    A name takes up heap on the board for good, once the module that has it was loaded. So those
    that applications do not use are replaced, unless *short_names* is False: see short_names.py.
    """
    root = device_root()
    files = {f"/{name}": (root / name).read_bytes() for name in ("boot.py", "main.py")}
    for source in sorted((root / "lib").rglob("*.py")):
        name = f"/{source.relative_to(root).with_suffix('.mpy').as_posix()}"
        # Under the name that the board loads it by, which is in memory anyway.
        text = source.read_text()
        if short_names:
            text = with_short_names(text, IN_FIRMWARE)
        files[name] = compile_module(text, name, architecture, line_numbers=False)
    return files


def settings_file(settings: dict[str, object]) -> dict[str, bytes]:
    """Return /ota.json with *settings*."""
    return {"/ota.json": json.dumps(settings, indent=1).encode() + b"\n"}


def application_files(image: bytes, manifest: Manifest) -> dict[str, bytes]:
    """Return slot a with the content of *image*, and the record that makes it active."""
    with tarfile.open(fileobj=io.BytesIO(image)) as tar:
        files = {f"/.ota/a/{m.name}": tar.extractfile(m).read() for m in tar.getmembers()}
    files["/.ota/record"] = _first_record(manifest.sequence)
    return files


def _first_record(floor: int) -> bytes:
    body = struct.pack(_RECORD, b"MPBR", 1, ord("a"), ord("-"), 0, 0, floor, 0, 0, 0, b"")
    return body + hashlib.sha256(body).digest()[:8]
