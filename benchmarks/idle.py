"""What a daemon costs that has nothing to do: resident memory, and processor time, with ten subscribers and ten jobs.

Run: python -m benchmarks.idle [--size 10] [--seconds 20] [--rabbitmq]
On the embedded default; with --rabbitmq on the broker of SAGAD_TEST_AMQP_URL, or on a private one. Memory is what the
kernel counts as resident after the measurement; of that, the proportional share leaves out what others use, too.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from tests.acceptance.broker import Broker
from tests.acceptance.crowd import crowd
from tests.services import private_rabbit

GOAL_MB = 90
GOAL_PERCENT = 1.0


@contextmanager
def bus(size: int, *, rabbitmq: bool) -> Iterator[Mapping[str, Any]]:
    """Give the settings of a bus; nothing is left on it."""
    if not rabbitmq:
        yield {}
    elif url := os.environ.get("SAGAD_TEST_AMQP_URL"):
        broker = Broker(url)
        yield broker.settings
        broker.clean([f"greet-guest-{number}" for number in range(size)])
    else:
        with private_rabbit() as node:
            yield Broker(node.url).settings


def main() -> None:
    """Print both figures."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--size", type=int, default=10)
    arguments.add_argument("--seconds", type=float, default=20.0)
    arguments.add_argument("--rabbitmq", action="store_true")
    chosen = arguments.parse_args()
    print(
        f"python -m benchmarks.idle --size {chosen.size} --seconds {chosen.seconds:g}"
        f"{' --rabbitmq' if chosen.rabbitmq else ''}"
    )
    with tempfile.TemporaryDirectory() as folder, bus(chosen.size, rabbitmq=chosen.rabbitmq) as settings:
        application = crowd(Path(folder), chosen.size, settings)
        with application.daemon() as daemon:
            time.sleep(1)  # what a start leaves behind is over
            before_cpu_s, before_s = daemon.cpu_s(), time.monotonic()
            time.sleep(chosen.seconds)
            percent = (daemon.cpu_s() - before_cpu_s) / (time.monotonic() - before_s) * 100
            memory = psutil.Process(daemon.pid).memory_full_info()
    print(f"resident memory {memory.rss / 1e6:.1f} MB ({memory.pss / 1e6:.1f} MB proportional); goal < {GOAL_MB} MB")
    print(f"processor {percent:.2f} % of one core; goal < {GOAL_PERCENT:g} %")


if __name__ == "__main__":
    main()
