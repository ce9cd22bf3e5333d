"""Tell errors that come of too little memory from others, in whatever words a library puts it."""

import resource

SIGNS = (
    "out of memory",
    "allocate memory",
    "unable to allocate",
    "failed to allocate",
    "bad_alloc",
    "failed to map segment",
    "can't start new thread",
)
"""In messages of numpy, Arrow, DuckDB, torch, C++, the loader of libraries and Python's threads."""
NOT_ENOUGH = "there is not enough memory"


def lacks_memory(error: BaseException | None) -> bool:
    """Whether an error, or one that it was raised for, says that memory ran out."""
    while error is not None:
        text = str(error).lower()
        if isinstance(error, MemoryError) or any(sign in text for sign in SIGNS):
            return True
        error = error.__cause__ or error.__context__
    return False


def not_enough_memory(error: object = "") -> str:
    """What to tell the user: the limit of `ulimit -v`, if any, and the error's first line."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    allowed = "" if limit == resource.RLIM_INFINITY else f": ulimit -v allows {limit // 1024:,} kB"
    detail = str(error).strip().partition("\n")[0]
    return f"{NOT_ENOUGH}{allowed}{f' ({detail})' if detail else ''}"
