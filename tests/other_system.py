"""Take away on Linux what another system lacks, from our packages alone: other libraries have code of their own for it.

- modules, and names of `os` and `signal`, are not there;
- `sys.platform` is the system's;
- /proc and /sys cannot be read, by any Python code;
- on Windows a folder cannot be opened, nor a file be synced that was opened to read, nor a file or folder be renamed,
  replaced or removed that is open or mapped, nor `rename` replace anything;
- processes that multiprocessing starts are spawned, so whatever they get is pickled.
"""

import asyncio
import builtins
import errno
import fcntl
import multiprocessing
import os
import pathlib
import signal
import sys
import types
from collections.abc import Callable
from typing import Any

OURS = {"rendersight", "model_store", "app", "training"}
MODULES = {
    "darwin": {"_winapi", "msvcrt", "spwd", "winreg"},
    "win32": {
        "crypt",
        "curses",
        "fcntl",
        "grp",
        "nis",
        "posix",
        "pty",
        "pwd",
        "readline",
        "resource",
        "syslog",
        "termios",
    },
}
# the signals and the functions that Windows has
SIGNAL = {"SIGABRT", "SIGFPE", "SIGILL", "SIGINT", "SIGSEGV", "SIGTERM", "SIG_DFL", "SIG_IGN", "Signals", "Handlers"}
SIGNAL |= {"default_int_handler", "getsignal", "raise_signal", "set_wakeup_fd", "signal", "strsignal", "valid_signals"}
# what Linux alone has, and what Windows does not have
LINUX = {"eventfd", "getxattr", "memfd_create", "posix_fadvise", "sched_getaffinity", "sched_setaffinity", "splice"}
UNIX = {
    *("O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "O_SYNC", "WNOHANG", "chown", "confstr", "ctermid"),
    *("fchmod", "fchown", "fdatasync", "fork", "forkpty", "getegid", "geteuid", "getgid", "getgroups", "getloadavg"),
    *("getpgid", "getpgrp", "getpriority", "getsid", "getuid", "initgroups", "killpg", "lchown", "lockf", "mkfifo"),
    *("mknod", "nice", "openpty", "pipe2", "posix_spawn", "pread", "pwrite", "register_at_fork", "sched_yield"),
    *("sendfile", "setegid", "seteuid", "setgid", "setpgid", "setpriority", "setsid", "setuid", "statvfs", "sync"),
    *("sysconf", "ttyname", "uname", "wait", "wait3", "wait4", "waitid"),
}

_MAPS = "/proc/self/maps"


def missing(system: str) -> dict[str, set[str]]:
    """Return the names of `os` and `signal` that a system does not have."""
    if system == "darwin":
        return {"os": LINUX, "signal": {"sigtimedwait", "sigwaitinfo", "SIGRTMIN", "SIGRTMAX", "SIGPWR", "SIGSTKFLT"}}
    public = {name for name in dir(signal) if not name.startswith("_")}
    return {"os": LINUX | UNIX, "signal": public - SIGNAL}


def without(module: types.ModuleType, names: set[str], **others: Any) -> types.ModuleType:
    """Return a module that lacks names of another one, or has others instead."""

    def get(name: str) -> Any:
        if name in names:
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r} here")
        return getattr(module, name)

    changed = types.ModuleType(module.__name__)
    changed.__dict__.update(others, __getattr__=get)
    return changed


def in_use(path: Any) -> bool:
    """Tell whether this process has opened or mapped a file, or one in a folder."""
    top = os.path.realpath(path)
    opened = [os.path.realpath(number) for number in pathlib.Path("/proc/self/fd").iterdir()]
    with open(_MAPS, encoding="utf-8") as lines:  # noqa: PTH123 - pathlib is what is changed
        mapped = [words[5].strip() for words in (line.split(maxsplit=5) for line in lines) if len(words) > 5]
    return any(other == top or other.startswith(f"{top}/") for other in (*opened, *mapped))


def careful(call: Callable[..., Any], *, replaces: bool = True) -> Callable[..., Any]:
    """Refuse to move or remove what is open, as Windows does; without `replaces` also to put it onto something."""

    def checked(*paths: Any, **options: Any) -> Any:
        for path in paths if options.get("dir_fd") is None else ():
            if in_use(path):
                raise PermissionError(errno.EACCES, "it is being used by a process", os.fspath(path))
        if not replaces and os.path.lexists(paths[1]):
            raise FileExistsError(errno.EEXIST, "it exists already", os.fspath(paths[1]))
        return call(*paths, **options)

    return checked


def open_no_folder(path: Any, *arguments: Any, **options: Any) -> int:
    """Open as `os.open` does on Windows."""
    if pathlib.Path(path).is_dir():
        raise PermissionError(errno.EACCES, "a folder cannot be opened", os.fspath(path))
    return os.open(path, *arguments, **options)


def sync_what_is_written(number: int) -> None:
    """Sync as `os.fsync` does on Windows."""
    if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, "it was opened to read")
    os.fsync(number)


def take_away(system: str) -> None:
    """Make this process one of another system, for the modules that it imports from here on."""
    names = missing(system)
    changes: dict[str, Any] = {}
    if system == "win32":
        changes = {"open": open_no_folder, "fsync": sync_what_is_written, "name": "nt"}
        os.rename = careful(os.rename, replaces=False)  # also what pathlib calls
        for name in ("replace", "unlink", "remove"):
            setattr(os, name, careful(getattr(os, name)))
        asyncio.SelectorEventLoop.add_signal_handler = asyncio.AbstractEventLoop.add_signal_handler  # type: ignore[method-assign]
    stand_ins = {
        "os": without(os, names["os"], **changes),
        "signal": without(signal, names["signal"]),
        "sys": without(sys, set(), platform=system),
    }
    find = builtins.__import__

    def find_here(name: str, importer: Any = None, *rest: Any, **options: Any) -> Any:
        spec = (importer or {}).get("__spec__")
        if spec is None or spec.name.partition(".")[0] not in OURS:
            return find(name, importer, *rest, **options)
        if name in MODULES[system]:
            raise ModuleNotFoundError(f"No module named {name!r} on {system}", name=name)
        return stand_ins.get(name) or find(name, importer, *rest, **options)

    def refuse_proc(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and str(arguments[0]).startswith(("/proc/", "/sys/")) and arguments[0] != _MAPS:
            raise FileNotFoundError(errno.ENOENT, "no such file here", arguments[0])

    builtins.__import__ = find_here
    sys.addaudithook(refuse_proc)
    multiprocessing.set_start_method("spawn")
