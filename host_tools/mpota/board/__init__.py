"""The first set-up of a board over serial: its firmware, its files, and the image of its flash."""
