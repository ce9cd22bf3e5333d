"""A dataset in the browser: search, filter, look at piano rolls, listen. On this machine alone."""

from pipeline.browse.server import serve

__all__ = ["serve"]
