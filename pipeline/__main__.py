"""`python -m pipeline` is the `pipeline` command."""

import os
import sys

# Python put the current folder first on the path: nothing in it is to be imported, unless these
# packages lie there. A folder `shards/`, where datasets lie by default, would hide the package.
root, here = os.path.dirname(os.path.dirname(__file__)), os.getcwd()  # noqa: PTH109, PTH120
if os.path.abspath(sys.path[0]) == here != root:  # noqa: PTH100 - pathlib could be theirs
    del sys.path[0]


def main() -> None:
    """Run the command."""
    from shards.start import start

    start("pipeline")


if __name__ == "__main__":
    main()
