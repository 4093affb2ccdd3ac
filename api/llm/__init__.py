"""Which language model answers, at what price, and what comes instead when it fails."""
