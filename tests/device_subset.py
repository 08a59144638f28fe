"""Find code for the board that uses what MicroPython on an ESP8266 lacks, or that is costly.

The unix port has most of it, so that code using it passes on the simulated board and dies on a
real one. `python tests/device_subset.py` checks the tree; `check_source` checks one file.

Only what one file shows by itself is found: which methods an object has is told from the method's
name alone, so a method of the same name on a class of our own is reported as well. Syntax is left
to mpy-cross, except what it accepts and the board does not do.
"""

import ast
import builtins
import re
import sys
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from mpota.board.firmware_modules import BUILT_IN_MODULES, EXTENSIBLE_MODULES, FROZEN_MODULES

ROOT = Path(__file__).resolve().parents[1]


def _words(text):
    return set(text.split())


# `app` is the application in the active slot. `mip` is in the firmware and cannot work there.
BOARD_MODULES = (
    EXTENSIBLE_MODULES | BUILT_IN_MODULES | FROZEN_MODULES | {"ota", "app"}
) - {"mip"}  # fmt: skip

HARDWARE_MODULES = {"esp", "machine", "network"}

INSTEAD_OF_MODULE = {
    "_thread": "a step in handle(), or asyncio",
    "base64": "binascii",
    "contextlib": "a class with __enter__ and __exit__",
    "dataclasses": "a plain class",
    "datetime": "time",
    "functools": "a closure",
    "hmac": "hashlib.sha256 with the two pads",
    "logging": "ota.log",
    "mip": "requests; mip calls str.rpartition, which the board lacks",
    "pathlib": "os and plain strings",
    "tarfile": "the files of the image, which are at /app",
    "threading": "a step in handle(), or asyncio",
    "traceback": "sys.print_exception",
    "typing": "no annotation, or a comment",
    "unittest": "plain test functions in tests/unit",
    "zlib": "deflate",
}

# The contents of modules on the board, for those modules that have more in the unix port or in
# CPython. The sources are the port's mpconfigport.h and the globals tables of the modules
# (MicroPython v1.29-preview).
MODULE_ATTRIBUTES = {
    "asyncio": """
        run create_task sleep sleep_ms current_task get_event_loop new_event_loop run_until_complete
        wait_for wait_for_ms gather Event ThreadSafeFlag Lock open_connection start_server
        StreamReader StreamWriter CancelledError TimeoutError Task Loop
    """,
    "binascii": "hexlify unhexlify a2b_base64 b2a_base64",
    "collections": "deque namedtuple OrderedDict",
    "errno": """
        errorcode EPERM ENOENT EIO EBADF EAGAIN ENOMEM EACCES EEXIST ENODEV EISDIR EINVAL EOPNOTSUPP
        EADDRINUSE ECONNABORTED ECONNRESET ENOBUFS ENOTCONN ETIMEDOUT ECONNREFUSED EHOSTUNREACH
        EALREADY EINPROGRESS
    """,
    "gc": "collect disable enable isenabled mem_alloc mem_free threshold",
    "hashlib": "sha1 sha256",
    "io": "open IOBase StringIO BytesIO",
    "json": "dump dumps load loads",
    "math": """
        e pi sqrt pow exp log cos sin tan acos asin atan atan2 ceil copysign fabs floor fmod frexp
        ldexp modf isfinite isinf isnan trunc radians degrees
    """,
    "micropython": """
        const native viper asm_xtensa opt_level mem_info qstr_info stack_use heap_lock heap_unlock
        alloc_emergency_exception_buf kbd_intr RingIO schedule
    """,
    "os": """
        sync uname urandom sep chdir getcwd listdir ilistdir mkdir remove rename rmdir unlink stat
        statvfs dupterm dupterm_notify mount umount VfsFat VfsLfs2
    """,
    "random": "getrandbits seed",
    "re": "compile match search sub",
    "select": "poll POLLIN POLLOUT POLLERR POLLHUP",
    "socket": """
        socket getaddrinfo reset callback print_pcbs AF_INET AF_INET6 SOCK_STREAM SOCK_DGRAM
        SOCK_RAW SOL_SOCKET SO_REUSEADDR SO_BROADCAST IPPROTO_IP IP_ADD_MEMBERSHIP
        IP_DROP_MEMBERSHIP IPPROTO_TCP TCP_NODELAY MSG_PEEK MSG_DONTWAIT
    """,
    "struct": "calcsize pack pack_into unpack unpack_from",
    "sys": """
        argv byteorder exit implementation maxsize modules path platform print_exception stderr
        stdin stdout version version_info
    """,
    "time": """
        gmtime localtime mktime time time_ns sleep sleep_ms sleep_us ticks_ms ticks_us ticks_cpu
        ticks_add ticks_diff
    """,
}
MODULE_ATTRIBUTES = {module: _words(names) for module, names in MODULE_ATTRIBUTES.items()}

INSTEAD_OF_ATTRIBUTE = {
    "binascii.crc32": "hashlib.sha256",
    "hashlib.md5": "ota.md5",
    "io.BufferedWriter": "a bytearray that is written when it is full",
    "os.getenv": "the settings in /ota.json",
    "os.system": "a call of what it would start",
    "sys.atexit": "a finally",
    "sys.exc_info": "`except ... as error`",
    "sys.getsizeof": "gc.mem_alloc() before and after",
    "time.strftime": "`%` with the fields of time.localtime()",
}

BOARD_BUILTINS = _words("""
    __build_class__ __import__ bool bytes bytearray dict enumerate filter float frozenset int
    list map memoryview object property range reversed set slice str super tuple type zip
    classmethod staticmethod Ellipsis abs all any bin callable chr delattr dir divmod eval exec
    getattr setattr globals hasattr hash help hex id input isinstance issubclass iter len locals
    max min next oct open ord pow print repr round sorted sum BaseException ArithmeticError
    AssertionError AttributeError EOFError Exception GeneratorExit ImportError IndentationError
    IndexError KeyboardInterrupt KeyError LookupError MemoryError NameError NotImplementedError
    OSError OverflowError RuntimeError StopAsyncIteration StopIteration SyntaxError SystemExit
    TypeError UnicodeError ValueError ZeroDivisionError __name__
""")
MISSING_NAMES = set(dir(builtins)) - BOARD_BUILTINS | {"__file__", "execfile"}

INSTEAD_OF_NAME = {
    "NotImplemented": "raise TypeError, or return False",
    "__file__": "a path that is passed in",
    "compile": "a module that is imported",
    "complex": "two floats",
    "execfile": "an import",
    "vars": "__dict__",
}

# Names of methods that objects on the board lack; any call of such a name is reported.
MISSING_METHODS = {
    "partition": "find() or split(separator, 1)",
    "rpartition": "rfind() or rsplit(separator, 1)",
    "splitlines": 'split("\\n"), or readline(bound)',
    "center": "a format such as {:^20}",
    "ljust": "a format such as {:<20}",
    "rjust": "a format such as {:>20}",
    "zfill": "a format such as {:08d}",
    "indices": "explicit start and stop",
    "removeprefix": "startswith() and a slice",
    "removesuffix": "endswith() and a slice",
    "casefold": "lower()",
    "isalnum": "isalpha() or isdigit()",
    "isdecimal": "isdigit()",
    "isidentifier": "a comparison with the allowed characters",
    "isnumeric": "isdigit()",
    "isprintable": "a comparison with the allowed characters",
    "capitalize": "upper() on a slice",
    "swapcase": "lower() and upper()",
    "expandtabs": "replace()",
    "translate": "replace()",
    "maketrans": "replace()",
    "format_map": "format()",
    "groups": "group(1), group(2)",
    "span": "a group()",
    "bit_length": "a loop of shifts",
    "bit_count": "a loop of shifts",
    "tobytes": "bytes(view)",
    "tolist": "list(view)",
    "cast": "struct.unpack_from",
    "truncate": "a new file that is renamed over the old one",
    "writelines": "write() in a loop",
    "fileno": "the object itself, which poll.register takes",
    "with_traceback": "the exception as it is",
    "recv_into": "readinto(view)",
    "getsockname": "the address that bind() was given",
    "getpeername": "the address that accept() returned",
    "shutdown": "close()",
}

MISSING_ATTRIBUTES = {
    "strerror": "the number in errno",
    "__cause__": "a message that says it",
    "__context__": "a message that says it",
    "__traceback__": "sys.print_exception",
    "__doc__": "nothing; a .mpy has no docstrings",
    "__annotations__": "nothing; a .mpy has no annotations",
    "__qualname__": "__name__",
}

MISSING_HOOKS = {"__delattr__", "__setattr__"}

# Each of these methods reads everything if it is called without a limit.
BOUNDED_CALLS = {"read", "readline", "recv", "recvfrom"}
UNBOUNDED_CALLS = {"readlines": "readline(bound) in a loop", "readall": "readinto()"}

# A built-in function takes these keywords on the board and no others.
BUILTIN_KEYWORDS = {
    "dict": None,
    "enumerate": {"iterable", "start"},
    "max": {"key", "default"},
    "min": {"key", "default"},
    "open": {"file", "mode", "buffering", "encoding"},
    "print": {"sep", "end", "file"},
    "sorted": {"key", "reverse"},
}
METHODS_WITHOUT_KEYWORDS = _words("""
    decode encode split rsplit replace startswith endswith strip lstrip rstrip find rfind index
""")

_CONSTANT_NAME = re.compile(r"_*[A-Z][A-Z0-9_]*$")


class Finding(NamedTuple):
    path: str
    line: int
    what: str
    instead: str

    def __str__(self):
        return f"{self.path}:{self.line}: {self.what}; use {self.instead}"


def device_files(root=ROOT):
    """Return the paths of the files for the board, relative to `root`."""
    patterns = ("boot.py", "main.py", "lib/**/*.py", "examples/*/**/*.py")
    return sorted(path.relative_to(root) for pattern in patterns for path in root.glob(pattern))


def host_files(root=ROOT):
    """Return the paths of the files that must not import what is for the board."""
    patterns = ("host_tools/**/*.py", "tests/host/**/*.py", "tests/system/**/*.py")
    return sorted(path.relative_to(root) for pattern in patterns for path in root.glob(pattern))


def check_tree(root=ROOT):
    """Return the findings in all files of the tree."""
    findings = []
    for path in device_files(root):
        source = (root / path).read_text()
        findings += check_source(source, path.as_posix(), _neighbours(root / path))
    for path in host_files(root):
        findings += check_host_source((root / path).read_text(), path.as_posix())
    return findings


def _neighbours(path):
    """Return the modules that an application brings along, beside its file and in its lib/."""
    beside = [*path.parent.iterdir(), *path.parent.glob("lib/*")]
    return {neighbour.stem for neighbour in beside}


def check_source(source, path, neighbours=()):
    """Return the findings in a file for the board, whose place in the tree decides its rules.

    `neighbours` are the modules that an example brings along.
    """
    checker = _Checker(path, neighbours)
    checker.check(ast.parse(source, path))
    return sorted(checker.findings, key=lambda finding: finding.line)


def check_host_source(source, path):
    """Return the findings in a file of the host tools or their tests."""
    findings = []
    for node in ast.walk(ast.parse(source, path)):
        for module in _imported_modules(node):
            if module.split(".")[0] == "ota":
                findings.append(
                    Finding(path, node.lineno, f"import {module} on the host", "docs/SPEC.md")
                )
    return findings


def _imported_modules(node):
    """Return the names of the modules that the statement or call `node` imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module] if node.module and not node.level else []
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        name = node.args[0] if node.func.id == "__import__" and node.args else None
        if isinstance(name, ast.Constant) and isinstance(name.value, str):
            return [name.value]
    return []


def _plain_name(module):
    """Return the name of a module without the `u` that makes it mean the built-in one."""
    return module[1:] if module[:1] == "u" and module[1:] in EXTENSIBLE_MODULES else module


def _is_const_call(node):
    return (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "const"
    )


class _Checker(ast.NodeVisitor):
    def __init__(self, path, neighbours):
        self.path = path
        self.neighbours = neighbours
        self.findings = []
        parts = PurePosixPath(path).parts
        self.is_example = parts[0] == "examples"
        self.is_lib = parts[0] == "lib"
        self.parents = []
        self.modules = {}
        self.bound = set()

    def check(self, tree):
        for node in ast.walk(tree):
            self.bind(node)
        if self.is_lib:
            for statement in tree.body:
                self.check_constant(statement)
        self.visit(tree)

    def bind(self, node):
        """Note which names the file binds itself, and which of them are modules."""
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.asname or alias.name.split(".")[0]
                self.modules[name] = alias.name if alias.asname else name
                self.bound.add(name)
        elif isinstance(node, ast.ImportFrom):
            self.bound.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            self.bound.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            self.bound.add(node.id)
        elif isinstance(node, ast.arg):
            self.bound.add(node.arg)

    def report(self, node, what, instead):
        self.findings.append(Finding(self.path, node.lineno, what, instead))

    def generic_visit(self, node):
        self.parents.append(node)
        super().generic_visit(node)
        self.parents.pop()

    # Imports and what modules have.

    def check_import(self, node, module):
        written = module.split(".")[0]
        top = _plain_name(written)
        if not self.is_example and written in EXTENSIBLE_MODULES:
            what = f"import {written}, which finds an application's file of that name first"
            self.report(node, what, f"u{written}")
        elif top in HARDWARE_MODULES:
            # main.py's last resort must not load a file: the heap may be what ran out.
            allowed = self.path in ("lib/ota/hal.py", "main.py")
            allowed = allowed or (self.is_example and top in ("machine", "network"))
            if not allowed:
                self.report(node, f"import {written} outside lib/ota/hal.py", "ota.hal")
        elif top not in BOARD_MODULES and not (self.is_example and top in self.neighbours):
            instead = INSTEAD_OF_MODULE.get(top, "a module of the stock ESP8266 build")
            self.report(node, f"import {module}, which the board has not", instead)

    def check_module_attribute(self, node, module, name):
        plain = _plain_name(module)
        has = MODULE_ATTRIBUTES.get(plain)
        if has is None or name in has or name == "*" or name.startswith("__"):
            return
        full_name = f"{plain}.{name}"
        if full_name == "hashlib.md5" and self.path == "lib/ota/md5.py" and self.is_guarded():
            return
        instead = INSTEAD_OF_ATTRIBUTE.get(full_name, f"one of {', '.join(sorted(has))}")
        self.report(node, f"{module}.{name}, which the board has not", instead)

    def is_guarded(self):
        """Whether what is visited is under a hasattr test or a handler for its absence."""
        for parent in self.parents:
            if isinstance(parent, ast.If) and "hasattr" in ast.dump(parent.test):
                return True
            if isinstance(parent, ast.Try):
                caught = [ast.dump(handler.type) for handler in parent.handlers if handler.type]
                if any("ImportError" in name or "AttributeError" in name for name in caught):
                    return True
        return False

    def visit_Import(self, node):
        for module in _imported_modules(node):
            self.check_import(node, module)

    def visit_ImportFrom(self, node):
        for module in _imported_modules(node):
            self.check_import(node, module)
            for alias in node.names:
                self.check_module_attribute(node, module, alias.name)
        for alias in node.names:
            if alias.name.startswith("_") and _CONSTANT_NAME.match(alias.name):
                self.report(
                    node,
                    f"import of {alias.name}, which is no longer there once compiled",
                    "a constant without the underscore",
                )

    def visit_Attribute(self, node):
        if isinstance(node.value, ast.Name) and node.value.id in self.modules:
            self.check_module_attribute(node, self.modules[node.value.id], node.attr)
        if node.attr in MISSING_HOOKS:
            self.report(node, f".{node.attr}, which the board has not", "setattr() or delattr()")
        if node.attr in MISSING_ATTRIBUTES:
            instead = MISSING_ATTRIBUTES[node.attr]
            self.report(node, f".{node.attr}, which the board has not", instead)
        self.generic_visit(node)

    # Names, functions and methods.

    def visit_Name(self, node):
        if isinstance(node.ctx, ast.Load) and node.id not in self.bound:
            if node.id in MISSING_NAMES:
                instead = INSTEAD_OF_NAME.get(node.id, "what the board has, as OSError for I/O")
                self.report(node, f"{node.id}, which the board has not", instead)
            elif node.id == "print" and self.path != "lib/ota/log.py" and not self.is_example:
                self.report(node, "print in a library", "ota.log")

    def visit_Constant(self, node):
        if isinstance(node.value, complex):
            self.report(node, "a complex number, which the board has not", "two floats")

    def visit_Call(self, node):
        if isinstance(node.func, ast.Name):
            self.check_function_call(node, node.func.id)
        elif isinstance(node.func, ast.Attribute):
            self.check_method_call(node, node.func)
        self.generic_visit(node)

    def check_function_call(self, node, name):
        for module in _imported_modules(node):
            self.check_import(node, module)
        if name in self.bound or name not in BOARD_BUILTINS:
            return
        if name == "pow" and len(node.args) + len(node.keywords) == 3:
            self.report(node, "pow with a modulus, which the board has not", "multiply and `%`")
        allowed = BUILTIN_KEYWORDS.get(name, set())
        for keyword in node.keywords:
            if allowed is not None and keyword.arg and keyword.arg not in allowed:
                self.report(
                    node,
                    f"{name}({keyword.arg}=), a keyword the board does not take",
                    "a positional argument, or do without",
                )

    def check_method_call(self, node, func):
        name = func.attr
        if isinstance(func.value, ast.Name) and func.value.id in self.modules:
            return
        if name in MISSING_METHODS:
            self.report(node, f".{name}(), which the board has not", MISSING_METHODS[name])
        if name in METHODS_WITHOUT_KEYWORDS and node.keywords:
            self.report(
                node, f".{name}() with a keyword, which the board does not take", "positions only"
            )
        if name in UNBOUNDED_CALLS:
            self.report(node, f".{name}(), which has no bound", UNBOUNDED_CALLS[name])
        # asyncio's readline(), which applications use, takes no bound.
        may_be_open = self.is_example or node.keywords
        if name in BOUNDED_CALLS and not may_be_open and not self.is_bounded(node):
            self.report(node, f".{name}() without a bound", "a size in bytes, or readinto()")

    @staticmethod
    def is_bounded(node):
        if not node.args:
            return False
        try:
            size = ast.literal_eval(node.args[0])
        except ValueError:
            return True
        return size is not None and size != -1

    # Statements.

    def visit_FunctionDef(self, node):
        if node.name in MISSING_HOOKS:
            self.report(node, f"{node.name}, which the board does not call", "a property")
        self.generic_visit(node)

    def visit_Match(self, node):
        self.report(node, "a match statement, which MicroPython has not", "if and elif")

    def visit_ExceptHandler(self, node):
        if node.type is None:
            self.report(node, "a bare except", "the exceptions that are meant")
        self.generic_visit(node)

    def visit_Assert(self, node):
        if not self.is_example:
            self.report(node, "an assert, which an optimised .mpy drops", "if and raise")
        self.generic_visit(node)

    def visit_Raise(self, node):
        if node.cause and not (isinstance(node.cause, ast.Constant) and node.cause.value is None):
            self.report(node, "raise ... from, which only prints a warning", "a plain raise")
        error = node.exc
        if isinstance(error, ast.Call) and getattr(error.func, "id", "") == "OSError":
            for value in error.args[:1]:
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    self.report(node, "a sentence in an OSError's errno", "a number of uerrno")
        self.generic_visit(node)

    def visit_Slice(self, node):
        if node.step is not None:
            self.report(node, "a slice with a step, which bytes and str have not", "a range")
        self.generic_visit(node)

    def check_constant(self, statement):
        """Report a number at the top of a module that takes RAM as a name in its globals."""
        if not isinstance(statement, ast.Assign) or not isinstance(statement.targets[0], ast.Name):
            return
        name = statement.targets[0].id
        if not _CONSTANT_NAME.match(name) or _is_const_call(statement.value):
            return
        try:
            value = ast.literal_eval(statement.value)
        except ValueError:
            return
        if type(value) is int:
            self.report(statement, f"{name} without const()", f"{name} = const({value})")


def main():
    findings = check_tree()
    for finding in findings:
        sys.stdout.write(f"{finding}\n")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
