"""An application that only calls handle()."""


def main(ota):
    print("application runs")
    while True:
        ota.handle()
