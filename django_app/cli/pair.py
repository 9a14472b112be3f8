"""Pair: a process that runs commands until its standard input ends.

It ends when the last process that holds its other end is gone, however that happened: by a signal, a crash or kill -9.
So no command outlives the terminal that it was started in.
"""

import json
import signal
import subprocess
import sys
from types import FrameType

_GRACE = 10.0
"""Seconds that a command has to end before it is killed."""


def start(commands: list[list[str]]) -> "subprocess.Popen[bytes]":
    """Starts the process. Its communicate() ends it and the commands, as our own end does."""
    # Started by its path, it does not import the project. -P keeps the names of this folder out of its imports.
    return subprocess.Popen([sys.executable, "-P", __file__, json.dumps(commands)], stdin=subprocess.PIPE)


def _main(commands: list[list[str]]) -> None:
    processes = [subprocess.Popen(argv, stdin=subprocess.DEVNULL) for argv in commands]
    # A Ctrl-C reaches the commands too, and they have begun to stop when our parent ends. This is set after they were
    # started, since they would inherit it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _exit)
    signal.signal(signal.SIGHUP, _exit)
    try:
        sys.stdin.buffer.read()
    finally:
        _stop(processes)


def _exit(_number: int, _frame: FrameType | None) -> None:
    sys.exit()


def _stop(processes: list["subprocess.Popen[bytes]"]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
