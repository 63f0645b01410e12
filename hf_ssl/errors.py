"""The package's exceptions."""


class NotFiniteError(ValueError):
    """A loss or a weight became NaN or infinite; the message says at which step and in which term."""


class BrokenExampleError(ValueError):
    """An example cannot be read: its file is missing, cut off or not of the right kind, or its text is missing.

    The message is one line that names the file.
    """

    def __init__(self, message: str):
        # A DataLoader raises an error of a worker again with the worker's whole traceback as message, ours at its end.
        name = f"{type(self).__module__}.{type(self).__qualname__}: "
        super().__init__(message.rpartition(name)[2].strip())
