"""The outside world of a pipeline: one short file a provider."""
