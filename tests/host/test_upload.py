"""`mpota upload`: what it sends, what it shows, and how it ends."""

import os
import re
import signal
import subprocess
import sys

import pytest
from data_files import FILES, fat_image, spiffs_image
from mpota.arduino.transfer import CHUNK
from mpota.cli import app
from mpota.image import data, signature
from mpota.image.directory import pack_directory
from mpota.image.keys import load_private_key
from openssl_command import test_key
from scripted_board import (
    DENIED,
    IMAGE,
    ScriptedBoard,
    classic,
    guarded,
    sketch,
    tried,
    well_behaved,
)
from terminal import plain
from typer.testing import CliRunner


@pytest.fixture
def firmware(tmp_path):
    path = tmp_path / "firmware.bin"
    path.write_bytes(IMAGE)
    return path


def run(*arguments, env=None):
    environment = {"MPOTA_PASSWORD": None, "TERM": "xterm"} | (env or {})
    return CliRunner(env=environment).invoke(app, ["upload", *map(str, arguments)])


def send(*arguments, script=well_behaved, env=None):
    with ScriptedBoard(script) as board:
        result = run("-i", board.ip, "-p", board.port, *arguments, env=env)
    return board, result


def refused(board):
    board.invited()
    board.say("ERR: ERROR[34]: trial running\n")


def test_a_file_is_sent_and_the_end_says_so(firmware):
    board, result = send(firmware)
    assert (result.exit_code, result.stderr) == (0, "")
    assert board.image == IMAGE
    assert result.stdout.endswith("firmware.bin: the board has verified and taken it\n")


def test_the_file_may_be_given_as_espota_has_it(firmware):
    board, result = send("-f", firmware, "-I", "0.0.0.0", "-P", 0)
    assert (result.exit_code, board.image) == (0, IMAGE)


def test_spiffs_announces_data(tmp_path):
    path = tmp_path / "data.tar"
    path.write_bytes(data.build(FILES, data.TAR))
    board, result = send("-s", "-f", path, "--no-wait")
    assert (result.exit_code, board.invitations[0].command) == (0, 100)
    assert board.image == path.read_bytes()


def test_spiffs_makes_an_image_of_a_directory(tmp_path):
    for name, content in FILES.items():
        path = tmp_path / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "files" / ".hidden").write_bytes(b"x")
    board, result = send("-s", tmp_path / "files", "--no-wait")
    assert result.exit_code == 0 and board.image == data.build(FILES, data.TAR)


def test_what_is_no_data_image_is_not_sent(firmware):
    for content, words in (
        (spiffs_image(), "it is SPIFFS, which boards do not take: make one with 'mpota mkdata'"),
        (fat_image(), "it is a FAT file system"),
        (b"PK\x03\x04" + bytes(99), "it is a zip"),
        (IMAGE, "it is neither a tar nor a littlefs"),
    ):
        firmware.write_bytes(content)
        result = run("-i", "127.0.0.1", "-s", firmware)
        assert result.exit_code == 1 and f"{firmware}: {words}" in result.stderr
    # Another program on the board may want it.
    board, result = send("-s", firmware, "--classic", "--no-wait")
    assert result.exit_code == 0 and board.image == firmware.read_bytes()


def test_a_directory_is_packed_on_the_way(garden):
    board, result = send(garden, script=tried())
    assert board.image == pack_directory(garden).data
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.endswith("garden 1.4.0: confirmed\n")


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_a_directory_with_a_private_key_is_signed_on_the_way(garden, mode):
    key = garden / "private.key"
    key.write_bytes(test_key(2048).read_bytes())
    key.chmod(mode)
    board, result = send(garden, script=tried())
    assert result.exit_code == 0
    assert board.image == signature.sign(pack_directory(garden).data, load_private_key(key))
    assert result.stderr.endswith("Enabling binary signing\nSigned binary: garden 1.4.0\n")
    assert ("can read" in result.stderr) == (mode == 0o644)


def test_a_file_is_never_signed_by_the_upload(firmware):
    firmware.with_name("private.key").write_bytes(test_key(2048).read_bytes())
    board, result = send(firmware)
    assert board.image == IMAGE and "sign" not in result.output


def test_an_application_image_goes_by_its_own_name(garden, tmp_path):
    path = tmp_path / "x.img"
    path.write_bytes(pack_directory(garden).data)
    assert "garden 1.4.0: " in send(path, script=tried())[1].stdout


def test_an_image_of_the_format_before_is_not_sent(tmp_path):
    path = tmp_path / "old.tar"
    header = b"MANIFEST".ljust(257, b"\0") + b"ustar".ljust(255, b"\0")
    path.write_bytes(header + b"mpota 1\nname garden\n".ljust(512, b"\0"))
    result = run("-i", "127.0.0.2", path)
    assert result.exit_code == 1
    assert result.stderr.endswith("boards no longer take: pack the application again\n")


def test_warnings_of_a_directory_are_shown(garden, write):
    write({"time.py": ""})
    result = send(garden, script=tried())[1]
    assert result.exit_code == 0 and result.stderr.startswith("warning: time.py takes the place")


# The trial


def test_the_stages_of_a_trial_are_told_once_each(garden, quick_polls):
    trial = [{"state": f"trial {left_s}"} for left_s in (9, 8, 7)]
    result = send(garden, script=tried(*trial, {}))[1]
    assert result.exit_code == 0
    lines = result.stdout.splitlines()[-3:]
    assert lines[0].startswith("the board restarts") and lines[2] == "garden 1.4.0: confirmed"
    assert lines[1] == "on trial for 9 s at most"


def test_a_release_that_is_taken_back_ends_with_status_1_and_the_boards_reason(garden):
    told = {"version": "1.3.0", "outcome": "taken back: 17: raised ImportError: no module"}
    result = send(garden, script=tried(told))[1]
    assert result.exit_code == 1 and "confirmed" not in result.stdout
    assert result.stderr == (
        "error: garden 1.4.0: taken back: raised ImportError: no module; garden 1.3.0 runs again: "
        "see the board's log, correct the release and give it a higher sequence\n"
    )


def test_a_trial_that_is_not_decided_in_time_ends_with_status_2(garden):
    board, result = send(garden, "--wait-s", "0.5", script=tried({"state": "trial 540"}))
    assert result.exit_code == 2
    assert result.stderr == (
        "garden 1.4.0: not decided within 0.5 s: on trial for 540 s at most: 'mpota status "
        "127.0.0.2' tells how it ends\n"
    )


def test_who_does_not_wait_is_done_when_the_board_has_the_image(garden):
    def script(board):
        well_behaved(board)
        assert board.asked(within_s=0.5) is None

    result = send(garden, "--no-wait", script=script)[1]
    assert (result.exit_code, result.stderr) == (0, "")
    promise = "garden 1.4.0: the board has verified it, and tries it after a restart\n"
    assert result.stdout.endswith(promise)


def test_a_classic_board_is_not_asked_for_what_it_does_not_tell(garden, quick_fallback):
    def script(board):
        classic(board)
        assert board.asked(within_s=0.5) is None

    result = send(garden, "--classic", script=script)[1]
    assert result.exit_code == 0
    end = "verified and taken it, and does not tell whether it works\n"
    assert result.stdout.endswith(f"garden 1.4.0: the board has {end}")


# What is sent


def test_the_signed_file_beside_it_is_preferred_and_named(firmware):
    signed = firmware.with_name("firmware.bin.signed")
    signed.write_bytes(b"signed")
    board, result = send(firmware)
    assert board.image == b"signed"
    assert f"sending {signed}, which lies beside {firmware}, instead of it\n" in result.stdout


@pytest.mark.parametrize("age_s", [-60, 60])
def test_a_signed_file_that_is_older_than_its_file_is_told(firmware, age_s):
    signed = firmware.with_name("firmware.bin.signed")
    signed.write_bytes(b"signed")
    made = firmware.stat().st_mtime - age_s
    os.utime(signed, (made, made))
    board, result = send(firmware)
    assert board.image == b"signed"
    told = f"warning: {signed} is older than {firmware}: sign it again, or delete {signed.name}\n"
    assert result.stderr == (told if age_s > 0 else "")


def test_a_name_that_no_signed_file_could_have_beside_it_is_sent(firmware):
    path = firmware.rename(firmware.with_name("x" * 252))
    board, result = send(path)
    assert (result.exit_code, board.image) == (0, IMAGE)


def test_without_a_terminal_there_is_a_line_at_each_tenth_and_no_control_code(firmware):
    firmware.write_bytes(IMAGE * 10)
    result = send(firmware)[1]
    lines = [line for line in result.stdout.splitlines() if " %, " in line]
    assert [line.split()[0] for line in lines] == [str(n) for n in range(10, 101, 10)]
    assert lines[-1] == f"100 %, {len(IMAGE) * 10} of {len(IMAGE) * 10} bytes"
    assert "\x1b" not in result.stdout and "\r" not in result.stdout


def test_the_bar_can_be_had_without_a_terminal(firmware):
    result = send(firmware, "-r")[1]
    assert result.exit_code == 0
    size = f"{len(IMAGE) / 1000:.1f}"
    assert re.search(rf"━+ {size}/{size} kB \S+ [kM]?B/s 0:00:00", plain(result.stdout))
    assert "100 %" not in result.stdout


def test_the_password_comes_from_the_option(firmware):
    board, result = send(firmware, "-a", "geheim", script=guarded("geheim"))
    assert (result.exit_code, board.image) == (0, IMAGE)


def test_the_password_comes_from_the_environment(firmware):
    environment = {"MPOTA_PASSWORD": "geheim"}
    board, result = send(firmware, script=guarded("geheim"), env=environment)
    assert (result.exit_code, board.image) == (0, IMAGE)


def test_a_password_that_is_no_text_is_told_before_anything_is_sent(firmware):
    result = run("-i", "127.0.0.2", firmware, "-a", "geh\udcffeim")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: the password is not text in UTF-8")


def test_the_handshake_is_told(firmware):
    for script, words in (
        (well_behaved, "the board asked for no password"),
        (guarded("geheim"), "password proven"),
    ):
        result = send(firmware, "-a", "geheim", script=script)[1]
        assert f"handshake: SHA-256, {words}\n" in result.stdout and result.stderr == ""


@pytest.mark.parametrize("options", [(), ("-a", "geheim")])
def test_the_classic_handshake_is_warned_of(firmware, quick_fallback, options):
    script = sketch("geheim") if options else classic
    board, result = send(firmware, "--classic", *options, script=script)
    assert (result.exit_code, board.image) == (0, IMAGE)
    asked = "password proven" if options else "the board asked for no password"
    assert result.stderr.startswith(f"warning: classic MD5 handshake, {asked}: ")
    assert "handshake: SHA-256" not in result.stdout


def test_without_classic_a_classic_board_is_told_how_to_allow_it(firmware, impatient):
    def script(board):
        while board.invited_again(within_s=0.6):
            pass

    result = send(firmware, script=script)[1]
    assert result.exit_code == 1
    assert "speaks only the classic MD5 handshake: --classic allows it" in result.stderr


def test_a_board_that_still_denies_the_classic_handshake_is_told(firmware, quick_fallback):
    def script(board):
        board.invited_classically()
        board.say(DENIED)
        while not board.invited().sha256:
            pass
        board.say(DENIED)

    result = send(firmware, "--classic", script=script)[1]
    assert result.exit_code == 1 and "takes only the SHA-256 handshake" in result.stderr


def test_no_output_holds_the_password(firmware):
    environment = {"MPOTA_PASSWORD": "geheim"}
    outputs = [send(firmware, "-d", script=guarded(p), env=environment)[1] for p in ("geheim", "x")]
    outputs.append(run("--help", env=environment))
    assert all("geheim" not in result.output for result in outputs)


def test_help_says_that_a_command_line_is_visible():
    text = " ".join(run("--help").stdout.split())
    assert "can see a command line" in text and "MPOTA_PASSWORD" in text


def test_a_refusal_ends_with_status_1_and_one_line(firmware):
    result = send(firmware, script=refused)[1]
    assert result.exit_code == 1
    assert result.stderr.startswith("error: the board is still trying out a new version: wait")
    assert result.stderr.count("\n") == 1 and "taken it" not in result.stdout


def test_a_wrong_password_ends_with_status_1(firmware):
    result = send(firmware, "-a", "x", script=guarded("geheim"))[1]
    assert result.exit_code == 1 and "password" in result.stderr


@pytest.mark.parametrize("phase", ["invitation", "transfer"])
@pytest.mark.parametrize("options", [(), ("-r",)], ids=["lines", "bar"])
def test_ctrl_c_is_one_line_and_lets_the_board_go(firmware, phase, options):
    def script(board):
        if phase == "invitation":
            board.invited()
            process.send_signal(signal.SIGINT)
        else:
            board.accept()
            board.take(CHUNK)
            process.send_signal(signal.SIGINT)
            board.closed()

    with ScriptedBoard(script) as board:
        command = [sys.executable, "-m", "mpota", "upload", "-i", board.ip, "-p", str(board.port)]
        process = subprocess.Popen(
            [*command, firmware, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        said = process.communicate(timeout=30)
    assert (process.returncode, said[1]) == (130, b"interrupted\n")
    if options:
        assert said[0].endswith(b"\x1b[?25h")  # the cursor is shown again


@pytest.mark.parametrize("counted", [True, False])
def test_ctrl_c_after_the_last_byte_says_that_the_board_may_install_it(firmware, counted):
    def script(board):
        board.accept()
        if counted:
            board.take_all(result=b"")
        else:
            board.take(CHUNK)
            for _ in range(len(IMAGE) // CHUNK):
                board.tcp.sendall(b"%d" % CHUNK)
                board.take(min(CHUNK, len(IMAGE) - len(board.image)))
        process.send_signal(signal.SIGINT)
        board.closed()

    with ScriptedBoard(script) as board:
        command = [sys.executable, "-m", "mpota", "upload", "-i", board.ip, "-p", str(board.port)]
        process = subprocess.Popen(
            [*command, firmware], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        said = process.communicate(timeout=30)[1].decode()
    assert process.returncode == 130
    told = f"{board.ip} has the whole image and may still install it: "
    assert said.startswith(told) and said.endswith("interrupted\n"), said


def test_an_upload_goes_on_when_nobody_reads_its_output_any_more(firmware):
    def script(board):
        board.invited()
        process.stdout.close()
        board.finish()

    with ScriptedBoard(script) as board:
        command = [sys.executable, "-m", "mpota", "upload", "-i", board.ip, "-p", str(board.port)]
        process = subprocess.Popen(
            [*command, firmware], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        said = process.stderr.read()
        assert process.wait(timeout=30) == 0, said
    assert (board.image, said) == (IMAGE, b"")


def test_debug_tells_the_steps_and_shows_a_traceback(firmware):
    result = send(firmware, "-d", script=refused)[1]
    assert "inviting 127.0.0.2:" in result.stdout
    assert "Traceback" in result.stderr and "\nerror: " in result.stderr


def test_steps_are_not_told_without_debug(firmware):
    assert "inviting" not in send(firmware)[1].stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["no/such.img"], "no/such.img does not exist"),
        ([], "no file is given"),
        (["a", "-f", "b"], "two files"),
    ],
)
def test_a_missing_file_is_told(arguments, reason):
    result = run("-i", "127.0.0.2", *arguments)
    assert result.exit_code == 1 and f"error: {reason}" in result.stderr


def test_an_empty_file_is_told(tmp_path):
    (tmp_path / "x.img").touch()
    result = run("-i", "127.0.0.2", tmp_path / "x.img")
    assert result.exit_code == 1 and "error: x.img is empty" in result.stderr


def test_a_bad_directory_is_told(tmp_path):
    result = run("-i", "127.0.0.2", tmp_path)
    assert result.exit_code == 1 and "error: the image needs a name" in result.stderr
