"""A stage is a coroutine between two channels; a pipeline is a list of stages in one TaskGroup.

A turn is one run of one pipeline. Cancelling the turn is cancelling that task: there are no interruption frames to
forward and no queues to flush, because the queues die with the group.
"""

import asyncio  # create_task only inside a TaskGroup: no task outlives its run
from collections.abc import Sequence
from typing import Protocol

from pipelines.channel import Channel
from pipelines.frames import Frame


class Stage(Protocol):
    """Take frames until the inbox closes; pass on what is not yours unchanged. Never close the outbox."""

    async def run(self, inbox: Channel[Frame], outbox: Channel[Frame]) -> None: ...


async def run(stages: Sequence[Stage], first: Frame, outbox: Channel[Frame], *, size: int = 4) -> None:
    """Run `first` through `stages` into `outbox`, then close it. Returns when every stage is done."""
    links = [Channel[Frame](size) for _ in stages]
    async with asyncio.TaskGroup() as group:
        for stage, inbox, out in zip(stages, links, [*links[1:], outbox], strict=True):
            group.create_task(_closing(stage, inbox, out), name=type(stage).__name__)
        await links[0].send(first)
        await links[0].close()


async def _closing(stage: Stage, inbox: Channel[Frame], out: Channel[Frame]) -> None:
    await stage.run(inbox, out)
    await out.close()
