"""A board as it leaves the desk: its files, and the image of its flash."""
