"""A queue of a broker that takes what it is asked, and answers nothing, as one that has lost its majority."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.services.rabbit import RabbitContainer, RabbitNode


@contextmanager
def silenced(node: RabbitNode | RabbitContainer, queue: str) -> Iterator[None]:
    """Silence a quorum queue inside the block."""
    process = f'whereis(binary_to_atom(<<"%2F_{queue}">>, utf8))'
    node.ctl("eval", f"sys:suspend({process}).")
    try:
        yield
    finally:
        node.ctl("eval", f"sys:resume({process}).")
