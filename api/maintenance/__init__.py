"""Maintenance: what keeps a live chatbot well."""
