"""Ctrl-C has the same effect on the programs that tests start as on a program started at a prompt.

A shell starts `nohup scripts/test &` with SIGINT ignored, and every child and grandchild inherits that. A handler is
not inherited: a new program starts with the default action instead. The test run itself still ignores the signal.
"""

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, lambda number, frame: None)
