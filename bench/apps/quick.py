"""An application that only calls handle(), and says once that it is healthy."""


def main(ota):
    print("application runs")
    while not ota.healthy:
        ota.handle()
    print("healthy")
    while True:
        ota.handle()
