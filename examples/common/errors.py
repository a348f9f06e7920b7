"""The exception for errors that a user of the examples can fix."""


class UserError(Exception):
    """A request cannot be fulfilled; the message is one line with what was expected and what was given."""
