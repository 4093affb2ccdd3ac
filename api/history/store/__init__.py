"""Conversations and messages: the journal that they are written in, what is asked of it, and how they are found."""

from api.history.store.journal import Journal
from api.history.store.tables import calls, conversations, messages

__all__ = ["Journal", "calls", "conversations", "messages"]
