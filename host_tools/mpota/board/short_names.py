"""Replace names in the source of a package for the board, before it is compiled.

The first module that has a name puts it into the board's table of names, which is in the heap and
only ever grows: a name takes about 20 bytes, and a table that is full is followed by one of twice
the size. Names that the firmware has itself take nothing.
"""

import io
import re
import string
import tokenize


def with_short_names(source: str, in_firmware: dict[str, str]) -> str:
    """Return *source* with its private names replaced by `_a`, `_b`, …, others by *in_firmware*.

    The private names of every module are replaced by the same few. *in_firmware* has, for names
    that modules share, names of the firmware that no module uses. Tracebacks show what is put in.
    Raises ValueError where there is an f-string: the names in it would be missed.
    """
    lines = io.StringIO(source).readlines()
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    if any(map(_begins_an_f_string, tokens)):
        raise ValueError("names in an f-string cannot be replaced: use % instead")
    tokens = [token for token in tokens if token.type == tokenize.NAME]
    # Those in capitals come last, since most are constants, of which nothing is left.
    private = sorted(
        {t.string: 0 for t in tokens if re.match("_[A-Za-z]", t.string)}, key=str.isupper
    )
    letters = string.ascii_lowercase
    short = [f"_{letter}" for letter in letters] + [f"_{a}{b}" for a in letters for b in letters]
    names = dict(zip(private, short, strict=False)) | in_firmware
    for token in reversed(tokens):
        row, column = token.start
        line = lines[row - 1]
        replacement = names.get(token.string, token.string)
        lines[row - 1] = line[:column] + replacement + line[token.end[1] :]
    return "".join(lines)


def _begins_an_f_string(token: tokenize.TokenInfo) -> bool:
    if token.type == tokenize.STRING:  # up to Python 3.11, where it is a string with a prefix
        return "f" in re.split("['\"]", token.string)[0].lower()
    return tokenize.tok_name[token.type] == "FSTRING_START"


def pairs(text: str) -> dict[str, str]:
    """Return `NAME=REPLACEMENT NAME=REPLACEMENT …` as a dictionary."""
    return dict(pair.split("=") for pair in text.split())
