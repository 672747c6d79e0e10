"""What is of another device than the CPU, in a process of its own: a device stays as long as the process does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "accelerator"


@pytest.mark.timeout(900)  # many tests
def test_another_device_gives_what_a_cpu_does() -> None:
    command = [sys.executable, "-m", "pytest", "-o", "python_files=on_*.py", "-p", "no:cacheprovider", str(HERE)]
    path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=850, check=False)
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr[-2000:]
