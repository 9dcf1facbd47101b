"""The HTTP interface: probes, events, workflows, runs, dead letters."""
