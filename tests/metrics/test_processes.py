"""Metrics in several processes at once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_scores_are_of_all_processes_and_distances_of_what_they_are_given(tmp_path: Path) -> None:
    """A process without a batch ended the others; a distance that one of them computed waited for the rest."""
    command = [sys.executable, Path(__file__).with_name("two_processes.py")]
    processes = [
        subprocess.Popen([*command, str(rank), tmp_path], stdout=subprocess.PIPE, text=True) for rank in range(2)
    ]
    try:
        said = [process.communicate(timeout=250)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    first, second = (json.loads(each) for each in said)
    assert first.pop("distance") == pytest.approx(1 + 2 * (1 - 2) ** 2)
    assert first == second
    assert first["nobody"].startswith("there are no samples yet")
    for name in ("split", "first alone", "last alone"):
        assert first[name] == pytest.approx(first["one process"])
