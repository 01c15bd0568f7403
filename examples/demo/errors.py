"""What ends the demo with a message instead of a traceback."""


class DemoError(Exception):
    """Something did not work; the message is for the person at the terminal.

    Parameters
    ----------
    message : str
        What happened, in one line.
    hint : str
        What to do about it.
    code : int
        Exit code: 2 when the demo could not begin, 1 when it failed on the way.
    """

    def __init__(self, message: str, hint: str = "", code: int = 1) -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code


class Refused(DemoError):
    """The platform answered with an error.

    Parameters
    ----------
    message, hint : str
        For a person.
    status : int
        Of the answer.
    fields : list of str
        Fields of the request it does not like.
    """

    def __init__(self, message: str, hint: str, status: int, fields: list[str]) -> None:
        super().__init__(message, hint)
        self.status = status
        self.fields = fields
