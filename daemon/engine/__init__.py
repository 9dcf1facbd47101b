"""What runs workflows: forward, back, and on again after a crash."""
