"""The one exception that is the user's to fix: a single line, exit code 2, no traceback."""


class UserError(Exception):
    """Bad input; one line that names the field, the file and line, or the way out."""


class NonFiniteLoss(Exception):
    """A loss, gradient or logit is not finite; exit code 3, nothing saved after it."""
