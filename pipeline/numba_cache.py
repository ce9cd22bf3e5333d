"""Give numba a cache for compiled code where it would find none.

numba caches beside the source, or in the user's cache folder. In a read-only installation with a
home that cannot be written, as in many containers, it finds neither and refuses to compile at all.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

VARIABLE = "NUMBA_CACHE_DIR"


def provide_cache() -> None:
    """Point numba to a temporary folder, for this process and its workers, if it has no other."""
    if VARIABLE in os.environ or any(map(is_writable, (Path(__file__).parent, user_cache()))):
        return
    folder = tempfile.mkdtemp(prefix="lakhxl-numba-")
    os.environ[VARIABLE] = folder
    creator = os.getpid()

    def remove() -> None:
        if os.getpid() == creator:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)


def is_temporary() -> bool:
    """Whether compiled code is lost when the command ends."""
    return Path(os.environ.get(VARIABLE, "")).name.startswith("lakhxl-numba-")


def user_cache() -> Path:
    """The folder that numba uses if it cannot write beside the source."""
    given = os.environ.get("XDG_CACHE_HOME")
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path's raises where there is no home
    return (Path(given) if given else home / ".cache") / "numba"


def is_writable(folder: Path) -> bool:
    """Whether a file can be created in a folder, which is created if need be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
