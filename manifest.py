# For a frozen build of MicroPython: freezes the package `ota`. See firmware/README.md.
metadata(
    version="0.2.0",
    description="Over-the-air updates: verified, tried, and taken back by themselves",
    license="MIT",
    author="mpota contributors",
)
package("ota", base_path="lib")
