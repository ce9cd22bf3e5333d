"""Run `process_file` on every file of the sources, whatever happens on the way; see docs/run.md.

    prepare  -> PreparedRun: lock, slices, what is done already
    execute  -> SlicePool -- SliceTask ---> worker: run_slice -> shard and fragments on disk
         |                <-- SliceResult -- (its journal says which file it is on)
         +---> finalize, in a worker too: fragments -> dataset

run_lock.py            keep two runs from working on one dataset
prepare.py             list the files, make or find the unfinished dataset
execute.py             process the slices that are left, then finalize
finalize.py            fragments -> index, ledger, report, manifest
pool.py                run slices in workers; retry and quarantine files that fail
ray_engine.py          run batches of slices on the nodes of a Ray cluster
feed.py                hand out tasks once their files can be read
slice_task.py          process and publish one slice, in a worker
fragments.py           what a slice publishes besides its shard
messages.py            what the parent and its workers send each other
journal.py             what a worker is doing right now
quarantine.py          records of files that are left out
status.py              how far a run is
progress_bars.py       the same on stderr
pool_settings.py       workers and their limits
worker.py              set up a worker process
worker_processes.py    start, stop and kill worker processes
worker_entry.py        the functions that workers run
forkserver_preload.py  what the server that workers are forked from loads
"""
