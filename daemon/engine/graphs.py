"""The graphs of runs that were started with another one than their workflow has now."""

from collections import OrderedDict

from daemon.errors import CodecError
from daemon.store.port import Store
from daemon.workflow.graph import Graph
from daemon.workflow.rebuilding import Rebuilt, rebuilt

_KEPT = 256


class Graphs:
    """Reads stored graphs, and makes them again of the present code; those that were asked for last are kept."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._made: OrderedDict[tuple[str, str], Rebuilt] = OrderedDict()

    async def of(self, wanted: str, current: Graph) -> Rebuilt | None:
        """Return the graph that has a hash, made again; None if that is the current one's.

        Raises:
            CodecError: It is not there, or cannot be read.
            StoreUnavailableError: The store cannot be read.
        """
        if wanted == current.hash:
            return None
        key = wanted, current.hash
        if key not in self._made:
            stored = await self._store.graph(wanted)
            if stored is None:
                raise CodecError(f"its graph {wanted} is not stored")
            self._made[key] = rebuilt(stored, current)
            if len(self._made) > _KEPT:
                self._made.popitem(last=False)
        self._made.move_to_end(key)
        return self._made[key]
