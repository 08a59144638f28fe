"""A hawkBit of the test's, and boards that ask it.

Its answers are written after the schema of hawkBit's Direct Device Integration API (the models and
controllers of eclipse-hawkbit/hawkbit, hawkbit-ddi, of 2026-08), with all the fields that boards do
not look at, and it insists on what hawkBit insists on.
"""

import hashlib
import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from device import APP, Device
from mpota.sim.rom_modules import control
from web_site import Page, Request, StrongFile, WebSite, head

EXECUTIONS = ("canceled", "rejected", "closed", "proceeding", "scheduled", "resumed",
              "downloaded", "download")  # fmt: skip
RESULTS = ("success", "failure", "none")
_PATIENCE_S = 60
_TYPE = "application/hal+json;charset=UTF-8"


@dataclass(frozen=True)
class Feedback:
    """What a board has told of an action; `kind` is "deploymentBase" or "cancelAction"."""

    action: int
    kind: str
    execution: str
    finished: str
    details: str


@dataclass
class Action:
    """An assignment of an image to a board."""

    data: bytes
    page: StrongFile
    is_active: bool = True
    is_to_cancel: bool = False
    is_canceling: bool = False  # and a poll was told so
    handling: str = "forced"
    window: str | None = None
    name: str = "garden.img"
    told: list[Feedback] = field(default_factory=list)


class HawkBit:
    """The tenant DEFAULT of a hawkBit at *site* that knows one board, *board_id*.

    *authorization* is the header that it asks for, if any. `sleep` is how often it wants to be
    asked. `broken` maps a path behind that of the board to a page that is given in place of the
    right one.
    """

    def __init__(self, site: WebSite, board_id: str, authorization: str = "") -> None:
        self.site = site
        self.board_id = board_id
        self.authorization = authorization
        self.sleep = "00:00:01"
        self.delay_s = 0.0  # the server waits this long before each answer
        self.actions: dict[int, Action] = {}
        self.told: list[Feedback] = []
        self.attributes: dict[str, str] = {}
        self.wants_attributes = True
        self.mistakes: list[str] = []
        self.broken: dict[str, Page] = {}
        self._changed = threading.Condition()
        self.url = site.url + "/DEFAULT"
        self._base = f"/DEFAULT/controller/v1/{board_id}"
        site.add(self._base, self._page("", self._poll))
        site.add(f"{self._base}/configData", self._page("/configData", self._config_data))

    @property
    def polls(self) -> list[Request]:
        """The questions whether there is something to do."""
        return self.site.asked(self._base)

    def asked(self, path: str) -> list[Request]:
        """The requests for *path* behind that of the board."""
        return self.site.asked(self._base + path)

    def deploy(self, data: bytes, page: StrongFile | None = None, **options: object) -> int:
        """Assign *data* to the board, by *page* in place of a good one; return the action."""
        number = 40 + 2 * len(self.actions)
        page = page or StrongFile(data, etag=f'"{hashlib.sha1(data).hexdigest()}"')
        self.actions[number] = Action(data, page, **options)  # type: ignore[arg-type]
        for kind, get in (("deploymentBase", self._deployment), ("cancelAction", self._cancel)):
            path = f"/{kind}/{number}"
            self.site.add(self._base + path, self._page(path, get, number))
            path += "/feedback"
            self.site.add(self._base + path, self._page(path, self._feedback, number, kind))
        self.site.add(self._artifact(number), self._page(f"/artifact/{number}", None, number))
        return number

    def cancel(self, number: int) -> None:
        """Wish that the action *number* is canceled: the next poll is told so."""
        self.actions[number].is_to_cancel = True

    def closed(self, number: int) -> Feedback:
        """Wait until the board has told how the action *number* ended; return that."""
        self.wait_for(lambda: self._end_of(number))
        end = self._end_of(number)
        assert end
        return end

    def _end_of(self, number: int) -> Feedback | None:
        return next((f for f in self.told if f.action == number and f.execution == "closed"), None)

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Wait until *condition*, of what the board has told or asked, is true."""
        with self._changed:
            assert self._changed.wait_for(condition, _PATIENCE_S), self.told

    def idle_polls(self, count: int = 2) -> None:
        """Wait until the board has asked *count* times more."""
        before = len(self.polls)
        self.wait_for(lambda: len(self.polls) >= before + count)

    # The server's answers

    def _artifact(self, number: int) -> str:
        name = self.actions[number].name
        return f"{self._base}/softwaremodules/{number + 1}/artifacts/{name}"

    def _page(self, path: str, answer: Callable | None, *arguments: object) -> Page:  # type: ignore[type-arg]
        def page(connection: socket.socket, request: Request) -> None:
            body = b""
            length = int(request.headers.get("content-length", 0))
            while len(body) < length:
                body += connection.recv(length - len(body))
            with self._changed:
                self._changed.notify_all()
            time.sleep(self.delay_s)
            if self.authorization and request.headers.get("authorization") != self.authorization:
                says(connection, "401 Unauthorized")
            elif path in self.broken:
                self.broken[path](connection, request)
            elif answer is None:
                self.actions[arguments[0]].page(connection, request)  # type: ignore[index]
            else:
                answer(connection, request, body, *arguments)
            with self._changed:
                self._changed.notify_all()

        return page

    def _poll(self, connection: socket.socket, request: Request, body: bytes) -> None:
        if request.method != "GET" or body:
            self.mistakes.append(f"{request.method} of the board")
        links: dict[str, object] = {}
        number = next((n for n, a in self.actions.items() if a.is_active), None)
        if number is not None:
            self.actions[number].is_canceling = self.actions[number].is_to_cancel
            if self.actions[number].is_canceling:
                links["cancelAction"] = self._link(f"/cancelAction/{number}")
            else:
                links["deploymentBase"] = self._link(f"/deploymentBase/{number}?c=-2129030598")
        links["installedBase"] = self._link("/installedBase/3")
        if self.wants_attributes:
            links["configData"] = self._link("/configData")
        answer = {"config": {"polling": {"sleep": self.sleep}}, "_links": links}
        text = json.dumps(answer, separators=(",", ":")).encode()
        etag = f'"0{hashlib.md5(text).hexdigest()}"'
        if request.headers.get("if-none-match") == etag:
            says(connection, "304 Not Modified", ETag=etag)
        else:
            says(connection, "200 OK", text, ETag=etag)

    def _link(self, path: str) -> dict[str, str]:
        return {"href": self.site.url + self._base + path}

    def _config_data(self, connection: socket.socket, request: Request, body: bytes) -> None:
        given = self._json(connection, request, body, "PUT")
        if given is None:
            return
        data = given["data"]
        if not all(isinstance(v, str) and len(v) <= 128 for v in data.values()):
            self.mistakes.append(f"attributes {data}")
        self.attributes |= data
        self.wants_attributes = False
        says(connection, "200 OK")

    def _deployment(
        self, connection: socket.socket, request: Request, body: bytes, number: int
    ) -> None:
        action = self.actions[number]
        if action.is_canceling:
            says(connection, "404 Not Found")
            return
        says(connection, "200 OK", json.dumps(self.deployment(number)).encode())

    def deployment(self, number: int) -> dict:  # type: ignore[type-arg]
        """Return what hawkBit says of the deployment *number*."""
        action = self.actions[number]
        link = self.site.url + self._artifact(number)
        secure = link.replace("http://", "https://")
        artifact = {
            "filename": action.name,
            "hashes": {
                name: hashlib.new(name, action.data).hexdigest()
                for name in ("sha1", "md5", "sha256")
            },
            "size": len(action.data),
            "_links": {
                "download": {"href": secure}, "download-http": {"href": link},
                "md5sum-http": {"href": link + ".MD5SUM"}, "md5sum": {"href": secure + ".MD5SUM"},
            },
        }  # fmt: skip
        chunk = {
            "part": "bApp", "version": "1.4.0", "name": "gar\"den, [the] {best}: \\ ä",
            "artifacts": [artifact], "metadata": [{"key": "a", "value": "b"}],
        }  # fmt: skip
        deployment: dict[str, object] = {
            "download": action.handling, "update": action.handling, "chunks": [chunk],
        }  # fmt: skip
        if action.window:
            deployment |= {"maintenanceWindow": action.window, "update": "skip"}
        history = {"status": "RUNNING", "messages": ["Assignment initiated by user 'admin'"]}
        return {"id": str(number), "deployment": deployment, "actionHistory": history}

    def _cancel(
        self, connection: socket.socket, request: Request, body: bytes, number: int
    ) -> None:
        answer = {"id": str(number), "cancelAction": {"stopId": str(number)}}
        says(connection, "200 OK", json.dumps(answer).encode())

    def _feedback(
        self, connection: socket.socket, request: Request, body: bytes, number: int, kind: str
    ) -> None:
        given = self._json(connection, request, body, "POST")
        if given is None:
            return
        action, status = self.actions[number], given["status"]
        execution, finished = status["execution"], status["result"]["finished"]
        if execution not in EXECUTIONS or finished not in RESULTS:
            self.mistakes.append(f"feedback {given}")
        if not action.is_active:
            says(connection, "410 Gone")
            return
        told = Feedback(number, kind, execution, finished, "; ".join(status.get("details", [])))
        with self._changed:
            self.told.append(told)
            self._changed.notify_all()
        if kind == "cancelAction" and execution == "rejected":
            action.is_to_cancel = action.is_canceling = False
        elif execution == "closed":
            action.is_active = False
            self.wants_attributes = finished == "success"
        says(connection, "200 OK")

    def _json(
        self, connection: socket.socket, request: Request, body: bytes, method: str
    ) -> dict | None:  # type: ignore[type-arg]
        try:
            if request.method == method and request.headers["content-type"] == "application/json":
                return dict(json.loads(body))
        except (ValueError, KeyError):
            pass
        self.mistakes.append(f"{request.method} {request.path}: {body!r}")
        says(connection, "400 Bad Request")
        return None


def says(connection: socket.socket, status: str, body: bytes = b"", **headers: object) -> None:
    """Answer with *body*, as hawkBit does."""
    headers = {"Content_Type": _TYPE, "Content_Length": len(body)} | headers
    connection.sendall(head(status, **headers) + body)


def mac(device: Device) -> str:
    """Return the MAC address of a board's station, 12 hex digits: by default its name."""
    return f"5ccf7f{device.board.control[control.CHIP_ID]:06x}"


class Asking(Device):
    """A board that asks *server* under the name that it has there."""

    def __init__(self, folder: Path, server: HawkBit, app: str = APP, /, **settings: object):
        settings = {"ddi_url": server.url, "ddi_id": server.board_id} | settings
        super().__init__(folder, app, **{"update_interval_s": 1} | settings)
