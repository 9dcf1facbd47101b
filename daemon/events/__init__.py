"""What carries events: the model, the bus and its two implementations, and the dispatch to handlers."""
