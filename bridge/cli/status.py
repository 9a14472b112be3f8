"""The command `bridge status`."""

from bridge.cli.examination import Examination, echo_problems, examination
from bridge.cli.options import print_json
from bridge.cli.report import print_status


@examination
def status(seen: Examination, as_json: bool) -> None:
    """Show each stream: what waits, for how long, what serves it. Exit with 1 if there is a problem.

    If the broker or the app is given, it also asks the running workers, for a second.
    """
    if as_json:
        print_json(seen)
        return
    print_status(seen.streams, seen.disk_use)
    echo_problems(seen.problems)
