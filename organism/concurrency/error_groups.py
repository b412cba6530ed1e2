"""What comes out of task groups is wrapped in a group for each that it has come through."""


def sole_error(error: BaseException) -> BaseException:
    """Return the one error in groups within groups; a group of several as it is."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        (error,) = error.exceptions
    return error
