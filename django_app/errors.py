"""The errors of the app.

bridge.errors.BridgeError
  ├── DeclarationError    a declaration doesn't fit the project; has the id of its system check
  └── SendError           a task can't be sent in the transaction; nothing was written
"""

from bridge.errors import BridgeError


class DeclarationError(BridgeError):
    def __init__(self, check_id: str, origin: str, said: str, fix: str | None = None) -> None:
        # These are the arguments, so that the error can be pickled: a test runner passes it between processes.
        super().__init__(check_id, origin, said, fix)
        self.check_id = check_id
        self.said = f"{origin}: {said.rstrip('.')}."  # Django's own messages end with a full stop
        self.fix = fix

    def __str__(self) -> str:
        return self.said + (f" {self.fix}" if self.fix else "")


class SendError(BridgeError):
    def __init__(self, task: str, said: str, fix: str | None = None) -> None:
        super().__init__(task, said, fix)  # a worker, too, passes an error on by its arguments
        self.task = task
        self._text = f'task "{task}": {said}.' + (f" {fix}" if fix else "")

    def __str__(self) -> str:
        return self._text
