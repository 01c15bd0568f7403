"""From the text of one input to the text of its answer, whatever it came by: the heart of every wrapper."""

import logging
import uuid
from typing import Any

from a360runtime.serving.answers import encode_prediction, read_json
from a360runtime.serving.bundle import Bundle
from a360runtime.serving.outliers import Outliers

logger = logging.getLogger("a360.serving")


class BadInput(Exception):
    """The input is not what the model takes: the caller's mistake.

    Parameters
    ----------
    detail
        For the caller.
    errors
        Field by field, where that is known.
    """

    def __init__(self, detail: str, errors: tuple[Any, ...] = ()) -> None:
        super().__init__(detail)
        self.detail, self.errors = detail, errors


class ScriptFailed(Exception):
    """The prediction script raised, or returned what has no JSON form.

    Parameters
    ----------
    incident
        Under which the log tells the rest.
    """

    def __init__(self, incident: str) -> None:
        super().__init__(f"The prediction script failed; its log tells more under the id {incident}.")
        self.incident = incident


class Predictor:
    """Reads an input, counts its outliers, runs the script on it.

    Parameters
    ----------
    bundle
        The loaded package.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.outliers = Outliers(bundle.artifacts[2] if len(bundle.artifacts) > 2 else None)

    def answer(self, payload: bytes) -> bytes:
        """Answer one input with a JSON object whose last member is the prediction.

        Raises
        ------
        BadInput
            If it is not UTF-8, or not JSON where JSON is taken.
        ScriptFailed
            If the script did not come to an answer with it.
        """
        try:
            text = payload.decode("utf-8")
        except UnicodeDecodeError as error:
            raise BadInput("The body is not UTF-8 text.") from error
        if self.bundle.json_input:
            try:
                document = read_json(text)
            except ValueError as error:
                raise BadInput(str(error)) from error
            self._count(document)
        try:
            return encode_prediction(self.bundle.predict(text)).encode()
        # A script that calls sys.exit() must not take the server with it.
        except (Exception, SystemExit) as error:
            incident = uuid.uuid4().hex
            logger.exception("incident=%s The prediction script failed.", incident)
            raise ScriptFailed(incident) from error

    def _count(self, document: Any) -> None:
        """Count before the script runs, for its failure is no reason to miss them; and never fail a call."""
        try:
            self.outliers.look(document)
        except Exception:
            logger.exception("Outliers of a call could not be counted.")
