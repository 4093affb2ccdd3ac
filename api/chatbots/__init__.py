"""Chatbots: making, changing, publishing and embedding them."""
