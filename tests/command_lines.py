"""The help of a command line, and the packages that it imports."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

_CODE = """
import sys
from importlib import import_module
main = import_module(sys.argv[1]).main
try: main(["--help"])
except SystemExit as end: print(end.code, *{name.partition(".")[0] for name in sys.modules})
"""

SLOW = {"torch", "numpy", "PIL", "httpx", "fastapi", "uvicorn", "pydantic", "tqdm", "shtab", "asyncio"}
"""Packages that help must not wait for."""


def help_of(module: str) -> tuple[str, set[str]]:
    """Call `main` of a module with --help in a fresh interpreter. Return the help and the imported packages."""
    done = subprocess.run([sys.executable, "-c", _CODE, module], cwd=ROOT, capture_output=True, text=True, check=True)
    *shown, last = done.stdout.splitlines()
    status, *packages = last.split()
    assert status == "0"
    return "\n".join(shown), set(packages)
