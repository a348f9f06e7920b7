"""The one exception that a user of the examples sees."""


class UserError(Exception):
    """What was asked for cannot be done; the message is one line and says what was expected and what came."""
