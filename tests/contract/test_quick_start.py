"""The quick start of README.md, as a newcomer would paste it into a shell."""

import asyncio
import re
import shutil
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from tests.support.live import live

README = Path(__file__).resolve().parents[2] / "README.md"


@pytest.mark.skipif(not shutil.which("curl"), reason="no curl here")
async def test_the_commands_of_the_quick_start_work_as_they_are_written(tmp_path: Path) -> None:
    block = re.search(r"```bash\n(.*?)```", README.read_text(), re.DOTALL)
    assert block
    async with live(tmp_path) as server:
        script = block[1].replace("http://localhost:8000", server.url)
        script = script.replace("curl ", "curl --fail-with-body --noproxy '*' ")
        shell = await asyncio.create_subprocess_exec("bash", "-euo", "pipefail", "-c", script, stdout=PIPE, stderr=PIPE)
        async with asyncio.timeout(30):
            said, complaints = await shell.communicate()
    assert shell.returncode == 0, (said + complaints).decode()
    assert "Well, that is a fine question." in said.decode()
    assert "data-chatbot-id" in said.decode()
