"""The application whose runs fill the store."""
