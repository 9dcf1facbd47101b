"""Jobs and their schedules: when they fire, and what fires them."""
