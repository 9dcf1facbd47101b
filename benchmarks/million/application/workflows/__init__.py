"""Four workflows of ten trivial steps."""
