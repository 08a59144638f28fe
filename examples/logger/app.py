"""Log the signal strength and the free heap, and show both as a chart in the browser.

An ordinary asyncio application: a task that measures, a web server, settings in /data/config.json,
modules in lib/, a page in the image. The update services run beside it; their page is served by the
application's own server, at /update.
"""

import asyncio
import gc

import config
import network
from pages import Server
from samples import Samples


async def main(ota):
    settings = config.load()
    samples = Samples(settings["keep"])
    server = Server(samples, settings["title"], ota.web)
    ota.web.end()  # the port is the application's, whatever the board's settings say

    @ota.on_start
    def pause():
        # Before the first byte of an update is written. A valve would be shut here.
        samples.paused = True
        print("logger: paused for the update")

    @ota.on_error
    def resume(code):
        samples.paused = False
        print("logger: update failed, code", code, "- logging goes on")

    await asyncio.start_server(server.serve, "0.0.0.0", settings["port"])
    print("logger 1.0.0: see port", settings["port"])
    station = network.WLAN(network.WLAN.IF_STA)
    while True:
        if not samples.paused and station.isconnected():
            samples.add(station.status("rssi"), gc.mem_free())
        await asyncio.sleep(settings["period_s"])
