"""Under what a run was made: versions, device, commit."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
import subprocess
from pathlib import Path

import torch

import curvae


def environment(device: torch.device, *packages: str) -> dict[str, str | None]:
    """Versions, those of further packages too, the device's name and, in a checkout of the sources, the commit.

    Example:
        >>> sorted(environment(torch.device("cpu")))
        ['commit', 'curvae', 'device', 'platform', 'python', 'torch']
    """
    return {
        "curvae": curvae.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({platform.machine()})",
        "commit": commit(),
        **{package: importlib.metadata.version(package) for package in packages},
    }


def today() -> str:
    """The date in UTC, as ISO 8601 writes it."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def commit() -> str | None:
    """The commit of the checkout this package is in, with ``-dirty`` after changes; None if it is installed."""
    folder = Path(curvae.__file__).parent
    # an installed package can lie inside somebody else's repository: only a tracked file makes it a checkout
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    head = _git(folder, "rev-parse", "HEAD")
    if head is None:
        return None
    return head + ("-dirty" if _git(folder, "status", "--porcelain", "--untracked-files=no", ".") else "")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
