"""What happens between an utterance and a moving mouth."""
