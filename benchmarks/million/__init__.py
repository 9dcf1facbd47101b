"""A store with a million runs: what it costs those that go on, those that look, and those that start."""
