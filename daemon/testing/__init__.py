"""What an application's tests import: the engine alone, or the whole application, in memory and on a clock by hand."""

from daemon.clock import ManualClock
from daemon.testing.container import memory_container
from daemon.testing.harness import Harness

__all__ = ["Harness", "ManualClock", "memory_container"]
