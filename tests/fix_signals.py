"""Ctrl-C and a closed terminal have the same effect on the programs that tests start as on a program started at a
prompt.

A shell starts `scripts/test &` with SIGINT ignored, and `nohup` ignores SIGHUP. Every child and grandchild inherits
that. A handler is not inherited: a new program starts with the default action instead. The test run itself still
ignores the signal.
"""

import signal

for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda number, frame: None)
