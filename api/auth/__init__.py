"""Signing in: accounts, tokens, visitors."""
