"""Measurements behind the numbers in the documentation: `python -m benchmarks ROOM NAME`.

    speed/          seconds, tokens per second and memory, compared with other libraries
    correctness/    what holds for every real song, what is found, and what a run survives
    ablations/      what one setting does to the loss
    corpus.py       the real files that they measure
    tables.py       tables with other values, for large datasets
    arguments.py    the arguments that name corpus and dataset; help with an example
    __main__.py     the commands

Each `NAME-results.md` lies beside its script: numbers, machine, date and command. Other libraries
are installed with `pip install -r benchmarks/requirements-bench.txt`.
"""
