"""Talking to a chatbot: 3D, text and voice, three rows of the catalogue over one turn engine."""
