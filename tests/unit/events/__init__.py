"""Subscribers, and what becomes of their deliveries."""
