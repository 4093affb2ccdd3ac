"""The programs in docs/websocket.md, as a reader would paste them into a file."""

import asyncio
import re
import shutil
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from tests.support.live import live

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "websocket.md").read_text()
NODE = shutil.which("node") and (ROOT / "node_modules" / "socket.io-client").is_dir()


@pytest.mark.parametrize(
    ("language", "program", "file"),
    [
        ("python", sys.executable, "sample.py"),
        pytest.param("js", "node", "sample.mjs", marks=pytest.mark.skipif(not NODE, reason="no Node packages here")),
    ],
)
async def test_a_documented_program_talks(tmp_path: Path, language: str, program: str, file: str) -> None:
    block = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert block
    async with live(tmp_path, public_url="http://localhost:8000") as server:
        code = block[1].replace('"http://localhost:8000"', f'"{server.url}"', 1)
        code = code.replace("Origin: server", 'Origin: "http://localhost:8000"')
        code = code.replace('"Origin": SERVER', '"Origin": "http://localhost:8000"')
        (tmp_path / file).write_text(code)
        (tmp_path / "node_modules").symlink_to(ROOT / "node_modules")
        run = await asyncio.create_subprocess_exec(program, str(tmp_path / file), stdout=PIPE, stderr=PIPE)
        try:
            async with asyncio.timeout(60):
                said, complaints = await run.communicate()
        finally:
            if run.returncode is None:
                run.kill()
    assert run.returncode == 0, (said + complaints).decode()
    assert "conversation conv_" in said.decode()
    assert "kept as msg_" in said.decode()
    assert "Nice to meet you." in said.decode()
