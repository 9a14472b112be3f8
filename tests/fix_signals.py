"""Ctrl-C means to the programs that tests start what it means at a prompt.

A shell starts `nohup scripts/test &` with SIGINT ignored, and what is ignored stays so in every child and grandchild.
A handler of ours does not: a program starts with the default instead. The test run itself goes on ignoring it.
"""

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, lambda number, frame: None)
