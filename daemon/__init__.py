"""sagad: durable workflows with compensation, started by events, schedules and HTTP."""
