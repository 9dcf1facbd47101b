"""What the daemon tells the garbage collector."""

import subprocess
import sys

LOOK = """
import asyncio, gc
from daemon.collector import Collector

class Circle: pass

before = gc.get_freeze_count()
asyncio.run(Collector().start())
for _ in range(100_000):
    circle = Circle()
    circle.itself = circle
left = sum(type(each) is Circle for each in gc.get_objects())
print(before, gc.get_freeze_count() > 1_000, left < 11_000)
"""


def test_what_is_there_at_the_start_is_spared_and_later_garbage_is_still_collected() -> None:
    looked = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True)

    assert looked.stdout.split() == ["0", "True", "True"]
