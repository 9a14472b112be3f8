"""The errors of the app.

bridge.errors.BridgeError
  ├── DeclarationError    a declaration doesn't fit the project; has the id of its system check
  └── SendError           a task can't be sent in the transaction; nothing was written
"""

from bridge.errors import BridgeError


class DeclarationError(BridgeError):
    def __init__(self, check_id: str, origin: str, said: str, fix: str | None = None) -> None:
        super().__init__(f"{origin}: {said}." + (f" {fix}" if fix else ""))
        self.check_id = check_id
        self.said = f"{origin}: {said}."
        self.fix = fix


class SendError(BridgeError):
    def __init__(self, task: str, said: str, fix: str | None = None) -> None:
        super().__init__(f'task "{task}": {said}.' + (f" {fix}" if fix else ""))
        self.task = task
