"""Loaded once by the server that workers are forked from; see `worker`.

Importing this module does the work, because multiprocessing's forkserver takes module names.
"""

import pyarrow as pa

from pipeline.process_file import warm_up
from pipeline.running.worker import die_with_parent

die_with_parent()
pa.set_cpu_count(1)
pa.set_io_thread_count(1)
warm_up()
