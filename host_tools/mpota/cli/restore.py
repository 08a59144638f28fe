"""`mpota restore`: write back what `mpota backup` has saved."""

from pathlib import Path
from typing import Annotated

import typer

from mpota.board.files import boot_files
from mpota.board.first_flash import used_parts
from mpota.board.prompt import Prompt
from mpota.board.serial import Loader
from mpota.cli.backup import FLASH_FILE, is_saved
from mpota.cli.port import PortOption, chosen_port
from mpota.cli.progress import LineConsole, Phases
from mpota.errors import CommandError


def restore(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="The directory that 'mpota backup' saved to.")
    ],
    port: PortOption = "",
    flash: Annotated[
        bool, typer.Option("--flash", help=f"Write the whole flash from {FLASH_FILE}.")
    ] = False,
) -> None:
    """Write the files in DIR to a board, which then restarts.

    Other files of the board stay as they are, and so do its applications and its boot record. A
    boot.py or main.py that is not mpota's is left out: with it, the board would take no updates.
    With --flash, the whole flash is replaced.
    """
    if not directory.is_dir():
        raise CommandError(
            f"{directory} is not a directory: name the one that 'mpota backup' saved to"
        )
    with Phases(LineConsole()) as phases:
        if flash:
            _write_flash(directory / FLASH_FILE, chosen_port(port), phases)
        else:
            _write_files(directory, chosen_port(port), phases)


def _write_flash(path: Path, port: str, phases: Phases) -> None:
    if not path.exists():
        raise CommandError(f"there is no {path}: save one with 'mpota backup DIR --flash'")
    data = path.read_bytes()
    with Loader(port, tell=phases.tell) as loader:
        phases.tell(f"{port}: {loader.chip}")
        if len(data) != loader.chip.flash_bytes:
            raise CommandError(
                f"{path} has {len(data)} bytes, and the board has {loader.chip.flash_bytes} of "
                "flash: nothing was written; connect the board that it was saved from"
            )
        phases.tell("erasing all of the flash")
        loader.erase_all()
        loader.write(used_parts(data, 0), phases.progress)
        loader.start()
    phases.tell(f"{path}: written and verified; the board starts")


def _write_files(directory: Path, port: str, phases: Phases) -> None:
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    files = {f"/{path.relative_to(directory).as_posix()}": path.read_bytes() for path in paths}
    files = {name: content for name, content in files.items() if is_saved(name)}
    if not files or list(files) == [f"/{FLASH_FILE}"]:
        raise CommandError(
            f"{directory} has no files of a board: save some with 'mpota backup DIR', or give "
            f"--flash for a {FLASH_FILE}"
        )
    for name, own in boot_files().items():
        if files.get(name, own) != own:
            del files[name]
            phases.tell(
                f"{name} is left out: with another one than mpota's, the board takes no updates"
            )
    prompt = Prompt(port, phases.tell)
    prompt.write(files, lambda done, total: phases.progress("writing the files", done, total))
    prompt.reset()
    phases.tell(f"{directory}: {len(files)} files are written; the board restarts")
