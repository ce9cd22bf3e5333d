"""Loaded once by the server that workers are forked from; see `worker`.

Importing this module does the work, because multiprocessing's forkserver takes module names.
"""

import os
import sys
from typing import Any

from pipeline.running.worker import die_with_parent
from shards.memory import lacks_memory


def report(kind: type[BaseException], error: BaseException, traceback: Any) -> None:
    """Print what ends a worker before its work, unless Ctrl-C ended the process that began it."""
    if kind is not EOFError:
        sys.__excepthook__(kind, error, traceback)


sys.excepthook = report
die_with_parent()
try:
    import pyarrow as pa

    from pipeline.process_file import warm_up

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    warm_up()
except Exception as error:
    if not lacks_memory(error):
        raise
    os._exit(1)  # the parent says why no worker can be started
