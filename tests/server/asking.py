"""Boards that ask a server, without a socket: what they tell, and what becomes of it."""

import dataclasses
from collections.abc import Callable
from unittest import mock

import sqlalchemy as sa
from mpota import image
from mpota.server import plan, questions, releases, rollouts
from mpota.server.database import Clock, Database, Release
from mpota.server.database import Rollout as Row
from mpota.server.decision import Rollout
from mpota.server.images import ImageDirectory
from mpota.server.options import Options
from mpota.server.reception import Reception, Reply
from sqlalchemy.orm import Session


def mac_of(number: int) -> str:
    """Return the MAC address of a board, as it tells it."""
    return ":".join(f"{byte:02X}" for byte in (0x5CCF7F000000 + number).to_bytes(6, "big"))


def release_image(sequence: int = 2, name: str = "garden", **fields: object) -> bytes:
    """Return an image of a release."""
    files = {"app.mpy": b"M\x06" + bytes(2000)}
    version = f"{sequence}.0.0"
    return image.build(name=name, version=version, sequence=sequence, files=files, **fields)


def sketch_headers(number: int = 1, **told: object) -> dict[str, str]:
    """Return the headers of an Arduino sketch with ESPhttpUpdate."""
    headers = {
        "User-Agent": "ESP8266-http-Update",
        "x-ESP8266-Chip-ID": str(number),
        "x-ESP8266-STA-MAC": mac_of(number),
        "x-ESP8266-AP-MAC": mac_of(number),
        "x-ESP8266-free-space": "102144",
        "x-ESP8266-sketch-size": "3000",
        "x-ESP8266-sketch-md5": "e" * 32,
        "x-ESP8266-chip-size": "4194304",
        "x-ESP8266-sdk-version": "2.2.2",
        "x-ESP8266-mode": "sketch",
    }
    return headers | {name.replace("_", "-"): str(value) for name, value in told.items()}


def board_headers(number: int = 1, sequence: int = 1, outcome: str = "", **told: object) -> dict:
    """Return the headers of a board of ours that runs garden's release *sequence*."""
    ours = {
        "x_ESP8266_version": f"{sequence}.0.0",
        "x_mpota_name": "garden",
        "x_mpota_sequence": sequence,
        "x_mpota_outcome": outcome,
        "x_mpota_boots": 1,
        "x_mpota_heap": 21000,
        "x_mpota_uptime": 60,
        "x_mpota_rssi": -60,
    }
    return sketch_headers(number, **ours | told)


def question(headers: dict[str, str], path: str = "") -> questions.Question:
    """Return what the server reads in *headers*."""
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return questions.read(path, raw, "10.0.0.7")


def let_an_hour_pass(database: Database) -> None:
    """Let the server's own time go on by an hour."""
    with database.writing() as session:
        session.execute(sa.update(Clock).values(running_s=Clock.running_s + 3600))


class Desk:
    """A server's database, images and reception, and boards that ask there."""

    def __init__(self, database: Database, folder, **options: object) -> None:
        self.database = database
        self.options = Options(**{"folder": str(folder), "unknown": "accept"} | options)
        self.images = ImageDirectory(self.options.images)
        self.reception = Reception(database, self.options)

    def add(self, data: bytes, channel: str = "stable", **fields: object) -> Release:
        """Keep a release."""
        with self.database.writing() as session:
            described = releases.describe(data, [], **fields)
            return releases.add(session, self.images, data, described, channel=channel)

    def roll_out(self, release: Release, **fields: object) -> int:
        """Begin a roll-out of the release, and return its number."""
        made = dataclasses.replace(Rollout(0, release.id), **fields)
        with self.database.writing() as session:
            number = rollouts.start(session, session.get(Release, release.id), made).id
        self.reception.refresh()
        return number

    def move(self, number: int, change: Callable[[Session, Row], None]) -> None:
        """Let an operator pause, resume or cancel a roll-out by *change*, of `rollouts`."""
        with self.database.writing() as session:
            change(session, session.get_one(Row, number))
        self.reception.refresh()

    def ask(self, headers: dict[str, str], path: str = "") -> Reply:
        """Let a board ask, in the way of a worker."""
        asked = question(headers, path)
        return self.reception.quick(asked) or self.reception.ask(asked)

    def tick(self, now: float) -> list[str]:
        """Let time pass until *now*, in seconds since 1970."""
        with mock.patch.object(plan, "wall_clock", lambda _: sa.literal(now)):
            said = rollouts.tick(self.database)
        self.reception.refresh()
        return said
