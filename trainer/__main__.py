"""`python -m trainer` is the `trainer` command."""

import os
import resource
import sys

# Python put the current folder first on the path: nothing in it is to be imported, unless these
# packages lie there. A folder `shards/`, where datasets lie by default, would hide the package.
root, here = os.path.dirname(os.path.dirname(__file__)), os.getcwd()  # noqa: PTH109, PTH120
if os.path.abspath(sys.path[0]) == here != root:  # noqa: PTH100 - pathlib could be theirs
    del sys.path[0]


MIN_ADDRESS_SPACE = 1 << 30
"""Bytes that `ulimit -v` has to allow: with fewer, libraries may abort while they load."""


def main() -> None:
    """Run the command; Ctrl-C, or a lack of memory, while libraries load is no traceback either."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    refusal = (
        "Error: there is not enough memory to load the libraries: ulimit -v allows "
        f"{limit // 1024:,} kB"
    )
    if resource.RLIM_INFINITY != limit < MIN_ADDRESS_SPACE:
        sys.exit(f"{refusal}; {MIN_ADDRESS_SPACE // 1024:,} kB are needed at least")
    try:
        from trainer.cli import cli
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if limit == resource.RLIM_INFINITY:
            raise
        last = (str(error).strip().splitlines() or [repr(error)])[-1]
        sys.exit(f"{refusal} ({last})")
    cli(prog_name="trainer")


if __name__ == "__main__":
    main()
