# pyarrow makes its compute functions at import, where pyright cannot see them.
from typing import Any

def __getattr__(name: str) -> Any: ...
