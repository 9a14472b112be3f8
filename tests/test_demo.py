"""The demo keeps running only where somebody can end it."""

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

from tests.eventually import eventually
from tests.fix_bridge import ROOT, environment

SHOP = ROOT / "examples" / "shop"
DEMO = (sys.executable, "-m", "demo", "--edits", "2")
ENVIRONMENT = environment(PYTHONPATH=f"{ROOT}:{SHOP}")


def test_without_a_terminal_it_ends_and_judges() -> None:
    done = subprocess.run(
        DEMO,
        check=False,
        cwd=ROOT,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert "with the bridge      0 of 2 tasks read the old row" in done.stdout
    kept = [line.split()[-1] for line in done.stdout.splitlines() if "tasks started" in line or "of it started" in line]
    assert kept == ["kept"] * 4
    assert "Ctrl-C ends" not in done.stdout
    # Both edits may have gone well without the bridge. Then the run proves nothing.
    assert done.returncode == (1 if "dispatch in save()   0 of 2" in done.stdout else 0), done.stdout + done.stderr


def test_in_a_terminal_it_stays_until_ctrl_c(tmp_path: Path) -> None:
    log = tmp_path / "demo.log"
    ours, theirs = pty.openpty()
    with log.open("wb") as output:
        process = subprocess.Popen(DEMO, cwd=ROOT, env=ENVIRONMENT, stdin=theirs, stdout=output, stderr=output)
    try:
        assert eventually(lambda: "Ctrl-C ends" in log.read_text(), 90), log.read_text()
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert log.read_text().splitlines()[-1] == "Bye."
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)
