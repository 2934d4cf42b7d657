"""Upload of a folder to the Hugging Face Hub, by its own library."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from objbench.errors import ObjbenchError, RequestError, brief

_ADDRESS = re.compile(r"hf://([\w.-]+/[\w.-]+)")


def repository(address: str) -> str:
    """`USER/NAME` of `hf://USER/NAME`.

    >>> repository("hf://me/my-model")
    'me/my-model'

    Raises:
        RequestError: It is no such address, or the library that uploads is not installed.
    """
    found = _ADDRESS.fullmatch(address)
    if not found:
        raise RequestError(f"--to {address}: expected hf://USER/NAME")
    if importlib.util.find_spec("huggingface_hub") is None:
        raise RequestError(f"--to {address}: the upload needs huggingface_hub: pip install 'objbench[hub]'")
    return found[1]


def upload(folder: Path, repo: str) -> str:
    """Upload a folder to a model repository, which is made if needed.

    Args:
        folder: The folder, all of which is uploaded.
        repo: USER/NAME.

    Returns:
        The address of the repository.

    Raises:
        ObjbenchError: The hub refused, or could not be reached.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        address = str(api.create_repo(repo, repo_type="model", exist_ok=True))
        api.upload_folder(
            repo_id=repo, folder_path=folder, repo_type="model", commit_message="Upload with objbench publish"
        )
    except (
        Exception
    ) as error:  # those of HTTP, of tokens, of names and of the file system have no common kind
        raise ObjbenchError(
            f"hf://{repo}: not uploaded ({brief(error)}); {folder} is whole: log in with `hf auth login` or HF_TOKEN, and "
            "give the same command again"
        ) from error
    return address
