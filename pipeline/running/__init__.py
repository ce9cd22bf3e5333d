"""From sources to a dataset, whatever happens on the way; see docs/run.md.

run.py finish.py status.py progress.py   begin or go on; parts -> dataset; how far
pool.py pool_settings.py processes.py cluster.py spool.py   slices to workers, or to nodes
entry.py tasks.py journal.py worker.py preload.py   what the two tell each other; workers
slice_job.py   one slice in one worker
"""
