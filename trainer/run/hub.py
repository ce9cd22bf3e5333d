"""Exported models on the Hugging Face Hub; needs the extra `hub`.

Only the files of an exported model are fetched, and nothing of them is run or unpickled.
"""

import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from shards.errors import LakhxlError
from trainer.run import checkpoint
from trainer.run.export import CARD, export_run
from trainer.run.folder import CONFIG, VOCABULARY, Run

FILES = (CONFIG, VOCABULARY, CARD, f"checkpoints/{checkpoint.BEST}", "sample.mid")
"""What an exported model consists of."""


def download(repo_id: str, revision: str | None = None) -> Path:
    """Fetch a model from the Hub into its folder of the user's cache, unless it is there.

    As files, not as the links that the Hub's own cache has: no link in a run folder is followed.

    Args:
        repo_id: as in user/model.
        revision: a branch, tag or commit; None: the main branch.

    Returns:
        The folder.

    Raises:
        LakhxlError: the Hub has no such model, or cannot be reached.
    """
    hub = _hub()
    cache = Path(hub.constants.HF_HOME) / "lakhxl"
    folder = cache / repo_id.replace("/", "--") / (revision or "main").replace("/", "--")
    try:
        hub.snapshot_download(repo_id, revision=revision, local_dir=folder, allow_patterns=[*FILES])
        return folder
    except (OSError, ValueError) as error:  # its own errors are of these
        raise LakhxlError(f"{repo_id} cannot be fetched ({_first_line(error)})") from None


def push(run: Run, repo_id: str, *, dtype: str, license: str, private: bool) -> Any:
    """Export a run and put it on the Hub.

    Returns:
        What the Hub says of the commit.

    Raises:
        LakhxlError: the run cannot be exported, or the Hub refuses it.
    """
    hub = _hub()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / repo_id.rpartition("/")[2]
        export_run(run, folder, dtype=dtype, license=license, sample=None)
        try:
            hub.create_repo(repo_id, private=private, exist_ok=True)
            return hub.upload_folder(
                repo_id=repo_id, folder_path=str(folder), allow_patterns=[*FILES]
            )
        except (OSError, ValueError) as error:
            raise LakhxlError(f"{repo_id} cannot be written ({_first_line(error)})") from None


def _hub() -> ModuleType:
    try:
        import huggingface_hub
        import huggingface_hub.constants
    except ImportError:
        raise LakhxlError(
            "huggingface_hub is not installed: pip install 'lakhxl[hub]', or use folders"
        ) from None
    return huggingface_hub


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
