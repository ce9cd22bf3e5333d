"""What the server that workers are forked from loads, once for all of them; see `worker`.

Importing it does the work: multiprocessing's forkserver takes the names of modules.
"""

import pyarrow as pa

from pipeline.running.slice_task import warm_up
from pipeline.running.worker import die_with_parent

die_with_parent()
pa.set_cpu_count(1)
pa.set_io_thread_count(1)
warm_up()
