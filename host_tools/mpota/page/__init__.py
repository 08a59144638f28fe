"""The update page that a board serves: one compressed file, made of HTML, CSS and JavaScript."""

import gzip
import re
from pathlib import Path

_FOLDER = Path(__file__).parent


def build() -> bytes:
    """Return the page as the board sends it: gzip, the same bytes for the same sources."""
    html = (_FOLDER / "page.html").read_text(encoding="utf-8")
    for name in ("page.css", "page.js"):
        source = (_FOLDER / name).read_text(encoding="utf-8")
        html = html.replace(f"/*{name}*/", "\n" + source)
    return gzip.compress(_shorter(html).encode(), mtime=0)


def _shorter(text: str) -> str:
    # Without indentation, and lines that are empty or a comment; what a browser makes of it is the
    # same. Comments of other kinds are not used in the sources.
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not re.match(r"// ", line)) + "\n"
