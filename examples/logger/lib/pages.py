"""The pages: the chart, whose HTML is a file of the image, the samples as CSV, the update page."""

import gc


class Server:
    """Serves *samples* under the name *title*; `serve` is for asyncio.start_server.

    *web* is `ota.web`, which gets what is for the update page.
    """

    def __init__(self, samples, title, web):
        self._samples = samples
        self._title = title
        self._web = web

    async def serve(self, reader, writer):
        """Answer one request: `/`, `/samples.csv` or `/update`."""
        try:
            line = await reader.readline()
            path = line.split(b" ")[1] if line.count(b" ") == 2 else b""
            if path.startswith(b"/update"):
                # The socket, and what was read from it. From here on it is the page's to close.
                self._web.take(writer.s, writer.get_extra_info("peername"), line)
                writer = None
                return
            while await reader.readline() not in (b"\r\n", b""):
                pass
            if line[:6] == b"GET / ":
                await self._page(writer)
            elif line[:16] == b"GET /samples.csv":
                await self._csv(writer)
            else:
                writer.write(b"HTTP/1.0 404 Not Found\r\n\r\nnot found\n")
            await writer.drain()
        except OSError:
            pass  # the browser has gone
        finally:
            if writer:
                writer.close()
                await writer.wait_closed()
            gc.collect()

    async def _page(self, writer):
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n")
        with open("/app/page.html", "rb") as page:
            for line in page:
                writer.write(line.replace(b"TITLE", self._title.encode()))
                await writer.drain()

    async def _csv(self, writer):
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Type: text/csv\r\n\r\nsignal,heap\n")
        for signal, heap in self._samples:
            writer.write(b"%d,%d\n" % (signal, heap))
            await writer.drain()
