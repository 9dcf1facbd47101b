"""What keeps runs, checkpoints, queues and firings: one protocol, in memory and on databases."""
