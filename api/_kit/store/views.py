"""Reading beside the event loop: what a view sees of a database that can be reached without one."""

import asyncio
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from sqlalchemy import Connection, Engine, Executable, Result

from api._kit.store.transactions import Stamp, Statements, Tenant, Transaction

READERS: Final = 4
"""Threads that read."""
VIEWS: Final = 32
"""Views that may be open at once; each has a connection from its first statement on."""


class View(Transaction):
    """A transaction that reads: one hop to another thread for a statement, none to wait for at its beginning and end.

    Raises RuntimeError when it is asked after it was closed.
    """

    def __init__(self, engine: Engine, threads: ThreadPoolExecutor, tenant: Tenant, stamp: Stamp) -> None:
        Statements.__init__(self, tenant, stamp)
        self._engine, self._threads = engine, threads
        self._guard = threading.Lock()
        self._reader: Connection | None = None
        self._closed = False

    async def _read(self, statement: Executable, values: Mapping[str, Any] | None = None) -> Result[Any]:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._execute, statement, values)

    def _execute(self, statement: Executable, values: Mapping[str, Any] | None) -> Result[Any]:
        with self._guard:
            if self._closed:
                raise RuntimeError("the view is closed")
            if self._reader is None:
                self._reader = self._engine.connect().execution_options(writes=False)
            return self._reader.execute(statement, values).freeze()()

    def close(self) -> None:
        """Give the connection back, after the statement that a cancelled caller has left behind."""
        self._threads.submit(self._close)

    def _close(self) -> None:
        with self._guard:
            self._closed = True
            if self._reader is not None:
                self._reader.close()
