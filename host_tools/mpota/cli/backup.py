"""`mpota backup`: save a board's files, or its whole flash, over serial."""

from pathlib import Path
from typing import Annotated

import typer

from mpota.board.prompt import Prompt
from mpota.board.serial import Loader
from mpota.cli.port import PortOption, chosen_port
from mpota.cli.progress import LineConsole, Phases
from mpota.errors import CommandError

FLASH_FILE = "flash.bin"


def is_saved(name: str) -> bool:
    """Whether the file *name* is saved and restored.

    All files are, but for the boot record: it describes the slots, which are not saved as files.
    """
    return not name.startswith("/.ota/")


def backup(
    directory: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="The directory to save to: an empty one, or one that does not exist.",
        ),
    ],
    port: PortOption = "",
    flash: Annotated[
        bool,
        typer.Option(
            "--flash", help=f"Save the whole flash as {FLASH_FILE}, instead of the files."
        ),
    ] = False,
) -> None:
    """Save the files of a board, its settings among them, into DIR.

    An application is not a file of the board: --flash saves it too. The saved files hold the Wi-Fi
    key and hashes of the password: keep them secret.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise CommandError(f"{directory} is not empty: name another directory")
    port = chosen_port(port)
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    with Phases(LineConsole()) as phases:
        if flash:
            _save_flash(directory / FLASH_FILE, port, phases)
        else:
            _save_files(directory, port, phases)


def _save_flash(path: Path, port: str, phases: Phases) -> None:
    with Loader(port, tell=phases.tell) as loader:
        phases.tell(f"{port}: {loader.chip}")
        size = loader.chip.flash_bytes
        data = loader.read(
            0, size, lambda done, total: phases.progress("reading the flash", done, total)
        )
        loader.start()
    path.write_bytes(data)
    phases.tell(f"{path}: {len(data)} bytes; 'mpota restore {path.parent} --flash' writes it back")


def _save_files(directory: Path, port: str, phases: Phases) -> None:
    prompt = Prompt(port, phases.tell)
    files = prompt.read(
        {name: size for name, size in prompt.files().items() if is_saved(name)},
        lambda done, total: phases.progress("reading the files", done, total),
    )
    for name, content in files.items():
        path = directory / name.lstrip("/")
        if ".." in path.parts:
            raise CommandError(f"the board has a file {name!r}, which cannot be saved: remove it")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    prompt.reset()
    phases.tell(f"{directory}: {len(files)} files; 'mpota restore {directory}' writes them back")
