"""The settings that the host writes to a board, and how they are shown to people."""

import hashlib
import json
import re

import pytest
from mpota.board import settings
from mpota.errors import CommandError


def test_a_password_becomes_what_the_handshakes_and_the_page_work_with():
    assert settings.derived("geheim") == {
        "password_hash": "e8636ea013e682faf61f56ce1cb1ab5c",
        "password_sha256": "addb0f5e7826c857d7376d1bd9bc33c0c544790a2eac96144a8af22b1298c940",
        "web_ha1_md5": hashlib.md5(b"mpota:mpota:geheim").hexdigest(),
        "web_ha1_sha256": hashlib.sha256(b"mpota:mpota:geheim").hexdigest(),
    }


def test_the_password_itself_does_not_go_on_the_board():
    given = {"ssid": "garden", "key": None, "password": "geheim", "pump_pin": 5}
    on_board = settings.for_board(given)
    assert "geheim" not in json.dumps(on_board)
    assert on_board == {"ssid": "garden", "pump_pin": 5} | settings.derived("geheim")


def test_the_page_may_have_a_user_and_a_password_of_its_own():
    with_user = settings.for_board({"web_user": "anna", "password": "geheim"})
    assert with_user["web_ha1_md5"] == hashlib.md5(b"anna:mpota:geheim").hexdigest()
    again = settings.for_board({"password": "other"}, {"web_user": "anna"})
    assert again["web_ha1_sha256"] == hashlib.sha256(b"anna:mpota:other").hexdigest()
    own = settings.for_board({"password": "geheim", "web_password": "page"})
    assert own["web_ha1_md5"] == hashlib.md5(b"mpota:mpota:page").hexdigest()
    assert own["password_hash"] == hashlib.md5(b"geheim").hexdigest()
    assert "web_password" not in own
    with pytest.raises(CommandError, match="web_user needs the password as well"):
        settings.for_board({"web_user": "anna"})


ANNA = {"web_user": "anna", "pump_s": 20}


def test_a_change_keeps_all_other_settings():
    present = settings.for_board({"ssid": "garden", "confirm_s": 5, "password": "geheim"})
    changed = settings.changed(present, {"confirm_s": None, "hostname": "valve"})
    assert changed == {"ssid": "garden", "hostname": "valve"} | settings.derived("geheim")
    assert settings.changed(present, {"password": None}) == {"ssid": "garden", "confirm_s": 5}


@pytest.mark.parametrize(
    ("given", "name"),
    [({"password": "geheim"}, "web_user"), ({"web_password": "page"}, "web_user"),
     ({"password": "geheim"}, "web_password"),
     ({"password": "geheim", "web_password": "page"}, "web_password")],
)  # fmt: skip
def test_nothing_is_removed_of_which_a_hash_would_stay(given, name):
    present = settings.for_board(ANNA | given)
    with pytest.raises(CommandError, match=f"{name} cannot be removed alone.* give password or"):
        settings.changed(present, {name: None})
    for password in ("password", "web_password"):
        changed = settings.changed(present, {name: None, password: "new"})
        user = "mpota" if name == "web_user" else "anna"
        assert changed["web_ha1_md5"] == hashlib.md5(f"{user}:mpota:new".encode()).hexdigest()
        assert changed.get("web_user", "mpota") == user


def test_the_page_s_password_is_removed_where_the_page_does_not_need_it_any_more():
    own = settings.for_board(ANNA | {"web_password": "page"})
    assert settings.changed(own, {"web_password": None}) == ANNA
    assert settings.changed(own | {"password": "geheim"}, {"web_password": None}) == (
        ANNA | {"password": "geheim"}  # as text: the page's login can be made of it
    )
    assert settings.changed(own, {"web_password": None, "web_user": None}) == {"pump_s": 20}
    as_text = ANNA | {"password": "geheim", "web_password": "page"}
    assert settings.changed(as_text, {"web_password": None, "web_user": None}) == {
        "password": "geheim",
        "pump_s": 20,
    }
    assert settings.changed(own, {"password": None, "web_user": None}) == {"pump_s": 20}


def test_a_user_that_is_not_set_can_be_removed():
    present = settings.for_board({"password": "geheim"})
    assert settings.changed(present, {"web_user": None}) == present


def test_a_made_password_is_long_and_never_the_same():
    made = {settings.new_password() for _ in range(1000)}
    assert len(made) == 1000
    assert all(len(password) == 19 for password in made)


@pytest.mark.parametrize("name", ["ddi_target_token", "ddi_gateway_token", "update_password"])
def test_what_a_board_shows_to_servers_is_a_text_that_is_never_shown(name):
    assert settings.parse(name, "12345678") == "12345678" and settings.is_secret(name)
    assert settings.shown({name: "12345678"}) == {name: "(set, not shown)"}
    with pytest.raises(CommandError, match="must have 1 to (64|128) characters") as caught:
        settings.parse(name, "x" * 129)
    assert "xxx" not in str(caught.value)


def test_secrets_are_never_shown():
    shown = settings.shown({"key": "wifi-secret", "port": 8267} | settings.derived("geheim"))
    assert shown == {
        "key": "(set, not shown)", "port": "8267", "password": "(set, not shown)",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ssid", "x" * 33), ("ssid", 5), ("key", "1234567"), ("key", "x" * 65),
        ("hostname", ""), ("hostname", "x" * 33), ("hostname", "-a"), ("hostname", "ä"),
        ("port", 0), ("port", 65536), ("port", "8266"), ("port", 1.5),
        ("trial_s", 500001), ("web_password", 7), ("port", True), ("confirm_s", -1),
        ("auth", "none"), ("allow_downgrade", 1), ("safe_pins", {"17": 1}),
        ("safe_pins", {"5": 2}), ("safe_pins", [5]), ("password", "x" * 65),
        ("password_hash", "00"), ("a b", 1), ("update_interval_s", "x"), ("update_url", "x" * 513),
        ("update_redirects", "yes"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_with_its_setting(name, value):
    with pytest.raises(CommandError) as refused:
        settings.for_board({name: value})
    line = str(refused.value)
    assert f"the setting {name} " in line
    if name in ("key", "password", "password_hash") and value:
        assert str(value) not in line


def test_a_misspelt_name_is_refused_and_its_value_not_shown():
    for name, meant in (("pasword", "password"), ("hostnames", "hostname"), ("web-port", "")):
        with pytest.raises(CommandError) as refused:
            settings.for_board({name: "geheim"})
        assert meant in str(refused.value) and "geheim" not in str(refused.value)
    assert settings.for_board({"mqtt_port": 1883, "pump_s": 20}) == {
        "mqtt_port": 1883,
        "pump_s": 20,
    }


def test_board_tools_and_docs_know_the_same_settings(pytestconfig):
    root = pytestconfig.rootpath
    board = (root / "lib/ota/settings.py").read_text()
    rules = re.findall(
        r"^(\w+) (text|integer|number|bool|hex|pins) (\d+) (\d+)$", board, re.MULTILINE
    )
    docs = (root / "docs/SETTINGS.md").read_text().partition("\n| key |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (`[^|]+) \| ([^|]+) \|", docs, re.MULTILINE)
    told = {name: limits for names, limits in rows for name in re.findall(r"`(\w+)`", names)}
    assert len(rules) > 30 and set(told) == {name for name, *_ in rules}
    for name, kind, least, most in rules:
        if kind in ("integer", "number"):
            assert f"{least} to {most}" in told[name]
            assert settings.for_board({name: int(least)}) == {name: int(least)}
            assert settings.for_board({name: int(most)}) == {name: int(most)}
        elif kind == "text" and name not in ("auth", "update_redirects"):
            assert f"{least} to {most} characters" in told[name]
        if kind in ("integer", "number", "text"):
            with pytest.raises(CommandError, match="must "):
                settings.for_board(
                    {name: "x" * (int(most) + 1) if kind == "text" else int(most) + 1}
                )


def test_values_of_a_command_line_become_what_the_setting_is():
    assert settings.parse("confirm_s", "2.5") == 2.5
    assert settings.parse("allow_downgrade", "true") is True
    assert settings.parse("safe_pins", '{"5": 0}') == {"5": 0}
    assert settings.parse("hostname", "1234") == "1234"
    assert settings.parse("pump", "on") == "on"


def test_a_settings_file_is_toml_and_what_is_wrong_in_it_is_named_without_secrets(tmp_path):
    path = tmp_path / "garden.toml"
    path.write_text('ssid = "garden"\nkey = "wifi-secret"\nconfirm_s = 5\n')
    assert settings.read_file(path) == {"ssid": "garden", "key": "wifi-secret", "confirm_s": 5}
    for text in ("key = wifi-secret\n", 'key = "short!!"\n', 'port = "wifi-secret"'):
        path.write_text(text)
        with pytest.raises(CommandError) as refused:
            settings.read_file(path)
        assert "garden.toml" in str(refused.value)
        assert "wifi-secret" not in str(refused.value) or "port" in str(refused.value)
        assert "short!!" not in str(refused.value)


def test_numbers_behind_a_host_name_are_of_one_length():
    assert settings.numbered("valve", 7, 50) == "valve-07"
    assert settings.numbered("valve", 7, 9) == "valve-7"
    with pytest.raises(CommandError, match="hostname"):
        settings.numbered("x" * 31, 7, 9)


def test_a_damaged_settings_file_of_a_board_is_named():
    for data in (b"", b"{", b"[]", b"\xff"):
        with pytest.raises(CommandError, match="is damaged"):
            settings.read_json(data)


def test_characters_are_written_as_the_board_reads_them():
    assert (
        settings.to_json({"ssid": "Gärten \U0001f331"}).decode()
        == '{\n "ssid": "Gärten \U0001f331"\n}\n'
    )
