"""A server with a mistake: it acknowledges a message before the commit. The check that guards this must see it."""

import asyncio
import sys

from api.history.store import Journal
from pipelines.ports import Conversation, Recorded
from server.__main__ import main

_commit = Journal.user_message
_begun: set["asyncio.Task[Recorded]"] = set()


async def _acknowledge_first(
    self: Journal, conversation: Conversation, text: str, *, client_id: str | None = None, spoken: bool = False
) -> Recorded:
    task = asyncio.create_task(_commit(self, conversation, text, client_id=client_id, spoken=spoken))
    _begun.add(task)
    task.add_done_callback(_begun.discard)
    return Recorded(self._ids.new("msg"), duplicate=False)


if __name__ == "__main__":
    Journal.user_message = _acknowledge_first  # type: ignore[method-assign]
    sys.exit(main())
