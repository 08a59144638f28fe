"""Servers that boards ask for updates."""
