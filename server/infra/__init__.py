"""The outside world behind narrow doors: clock, database, hashing, telemetry."""
