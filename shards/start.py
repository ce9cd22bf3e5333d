"""Start a program: what comes before its libraries, and so imports none of them."""

import importlib
import resource
import sys

MIN_ADDRESS_SPACE = 1 << 30
"""Bytes that `ulimit -v` has to allow: with fewer, libraries may abort while they load."""


def start(program: str) -> None:
    """Run `program`.cli.cli; Ctrl-C, or a lack of memory, while it loads is no traceback either."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    refusal = (
        "Error: there is not enough memory to load the libraries: ulimit -v allows "
        f"{limit // 1024:,} kB"
    )
    if resource.RLIM_INFINITY != limit < MIN_ADDRESS_SPACE:
        sys.exit(f"{refusal}; {MIN_ADDRESS_SPACE // 1024:,} kB are needed at least")
    try:
        commands = importlib.import_module(f"{program}.cli")
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if limit == resource.RLIM_INFINITY:
            raise
        last = (str(error).strip().splitlines() or [repr(error)])[-1]
        sys.exit(f"{refusal} ({last})")
    commands.cli(prog_name=program)
