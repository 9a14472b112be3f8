"""The errors of the testing kit.

bridge.errors.BridgeError
  |__ TestingError           the kit can't do what a test asks for
       |__ EndlessChainError  the tasks of a test start each other for ever
"""

from bridge.errors import BridgeError


class TestingError(BridgeError):
    """The testing kit can't do what a test asks for. The message says what to change."""

    __test__ = False  # so that pytest does not take it for a class of tests


class EndlessChainError(TestingError):
    """The tasks that `run_bridge()` has started write rows whose watches start them again."""
