"""What the command says when it cannot start: one line that tells what to do."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bench.serving import ROOT, models


def started(data: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "MA_DATA_DIR": str(data), **settings}
    command = [sys.executable, "-m", "server", "serve"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.models
def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    (tmp_path / "models").symlink_to(models())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = started(tmp_path, MA_PORT=port)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"machineavatars: Cannot listen on 127.0.0.1:{port}")
    assert "MA_PORT" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_missing_model_is_named_with_the_command_that_brings_it(tmp_path: Path) -> None:
    ended = started(tmp_path)
    assert ended.returncode == 1
    assert "machineavatars models pull" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_wrong_setting_is_named(tmp_path: Path) -> None:
    ended = started(tmp_path, MA_PORT="abc")
    assert ended.returncode == 2
    assert ended.stderr.startswith("machineavatars: MA_PORT: ")
