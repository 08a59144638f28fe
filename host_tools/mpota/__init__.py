"""mpota: over-the-air updates for MicroPython on the ESP8266, the host's side."""
