"""/ota.json: what is missing counts as empty, and what is broken opens nothing."""

import os

from flash_stubs import fails
from ota import settings


def _read(content, **overrides):
    with open("/ota.json", "w") as f:
        f.write(content)
    return settings.read_settings(overrides)


def test_what_a_program_gives_takes_precedence():
    assert _read('{"port": 1, "app": "x"}', port=2) == {"port": 2, "app": "x"}


def test_a_missing_file_counts_as_empty():
    os.remove("/ota.json")
    assert settings.read_settings({}) == {}


def test_a_broken_file_and_a_flash_that_does_not_answer_make_the_board_strict():
    for content in ("", "{", "[]", '{"password": "geheim"'):
        assert _read(content) == {"auth": "strict"}
        assert _read(content, auth="classic", password="x") == {"auth": "strict", "password": "x"}
    settings.open = fails
    try:
        assert settings.read_settings({}) == {"auth": "strict"}
    finally:
        del settings.open
