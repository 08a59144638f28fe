"""The update page that a board serves: one compressed file, made of HTML, CSS and JavaScript."""

import gzip
import re
from pathlib import Path

_FOLDER = Path(__file__).parent


def build() -> bytes:
    """Return the page as the board sends it: gzip, the same bytes for the same sources."""
    html = _shorter(_source("page.html"))
    for name, tight in (("page.css", _tight_css), ("page.js", _tight_js)):
        html = html.replace(f"/*{name}*/", "\n" + tight(_shorter(_source(name))))
    return gzip.compress(html.encode(), mtime=0)


def _source(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


# What a browser makes of the following is the same.


def _shorter(text: str) -> str:
    # Without indentation, and lines that are empty or a comment. Comments of other kinds are not
    # used in the sources.
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not re.match(r"// ", line)) + "\n"


def _tight_css(css: str) -> str:
    # A space before a colon means something, in "form :disabled".
    return re.sub(r"\s*([{};,])\s*|(:)\s+", r"\1\2", css)


def _tight_js(js: str) -> str:
    # Without the spaces at operators, but for those in texts, and before a sign.
    return re.sub(
        r'("[^"\n]*"|`[^`]*`)| ?(===|!==|>>>|=>|&&|\|\||<=|>=|[=?:<>*+,;{}()/|^&-]) ?(?![+-])',
        lambda found: found[1] or found[2],
        js,
    )
