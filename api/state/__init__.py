"""State: how far a chatbot is set up, and what each conversation shows right now."""
