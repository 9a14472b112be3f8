"""The error of a wrong declaration, which a system check or a command can show.

bridge.errors.BridgeError
  └── DeclarationError    a declaration doesn't fit the project; has the id of its system check
"""

from bridge.errors import BridgeError


class DeclarationError(BridgeError):
    def __init__(self, check_id: str, origin: str, said: str, fix: str | None = None) -> None:
        super().__init__(f"{origin}: {said}." + (f" {fix}" if fix else ""))
        self.check_id = check_id
        self.said = f"{origin}: {said}."
        self.fix = fix
