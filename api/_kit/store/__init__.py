"""The unit of work: one transaction of one organisation, rolled back unless it is committed.

The organisation is a required argument and the statements that a transaction makes are filtered by it, so that a
forgotten filter is an error and not a leak. `PLATFORM` is for what belongs to no organisation or finds out which one
it is; a transaction of the platform refuses to make a filtered statement.

A unit of work (`Database.uow`) has its transaction to itself. A write (`Database.write`) is a function that shares one
with all that wait at the same time: one commit for many, which is what a conversation's messages need. Both write down
what happened (`record`) and what is to be done (`enqueue`) in that same transaction.
"""

from api._kit.store.claims import idempotency_keys
from api._kit.store.database import Database, StoreUnavailable
from api._kit.store.tables import deliveries, events, jobs, metadata
from api._kit.store.transactions import ENQUEUED, PLATFORM, NoTenant, Platform, Row, Tenant, Transaction, Write
from api._kit.store.work import CANCELLED, cancel_job, find_job

__all__ = [
    "CANCELLED",
    "ENQUEUED",
    "PLATFORM",
    "Database",
    "NoTenant",
    "Platform",
    "Row",
    "StoreUnavailable",
    "Tenant",
    "Transaction",
    "Write",
    "cancel_job",
    "deliveries",
    "events",
    "find_job",
    "idempotency_keys",
    "jobs",
    "metadata",
]
