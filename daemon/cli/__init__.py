"""The command `sagad`: one module per noun, and what their failures look like.

Exit status: 0, 1 (it failed: one sentence on stderr), 2 (it was called wrongly), 78 (the configuration or the
application has mistakes: one line each on stderr), 130 (interrupted).
"""

import sys
from collections.abc import Sequence

import daemon

FAILED = 1
CONFIGURATION = 78
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    Args:
        arguments: Without the program's name; None takes those of the process.
    """
    if not hasattr(daemon, "WorkflowEngine"):
        sys.stderr.write(
            f"sagad: {daemon.__file__} belongs to another package, such as python-daemon: "
            "uninstall that one, then install sagad again.\n"
        )
        return FAILED
    from daemon.collector import be_patient  # noqa: PLC0415 - not before it is known whose package this is

    be_patient()  # before what is imported now is walked over
    from daemon.cli.commands import sagad  # noqa: PLC0415
    from daemon.cli.output import note  # noqa: PLC0415
    from daemon.errors import ConfigurationError, DaemonError  # noqa: PLC0415

    try:
        sagad()(None if arguments is None else list(arguments), prog_name="sagad")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else FAILED
    except ConfigurationError as error:
        for problem in error.problems:
            note(str(problem))
        return CONFIGURATION
    except (DaemonError, OSError) as error:
        note(str(error))
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0
