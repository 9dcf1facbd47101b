"""The garbage collector of a process that stays."""

import gc

_YOUNG = 10_000


def be_patient() -> None:
    """Have it look for garbage once 10,000 more objects were made than freed, not 700.

    Most of what is made while an application is loaded is there to stay, and so are a hundred runs that go on at the
    same time, which are that many. Garbage in circles may take up some megabytes more for that.
    """
    gc.set_threshold(_YOUNG)


class Collector:
    """Spares the garbage collector what lives as long as the daemon does.

    What is there when it starts (seventy thousand objects, most of them parts of modules and classes) is never walked
    over again.
    """

    async def start(self) -> None:
        """Begin to spare it."""
        gc.freeze()
        be_patient()

    async def aclose(self) -> None:
        """There is nothing to close."""
