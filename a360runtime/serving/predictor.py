"""From the text of one input to the text of its answer, whatever it came by: the heart of every wrapper."""

import logging
import uuid
from typing import Any

from a360runtime.serving.answers import encode_prediction, read_json
from a360runtime.serving.bundle import Bundle
from a360runtime.serving.checks import ENFORCE, EXPLAIN, OFF, FieldError, InputCheck
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

    def __init__(self, detail: str, errors: tuple[FieldError, ...] = ()) -> None:
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
    """Checks an input, counts its outliers, runs the script on it. Used from several threads at once.

    Parameters
    ----------
    bundle
        The loaded package; its manifest says whether the signature is enforced (``input_check``).
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.outliers = Outliers(bundle.artifacts[2] if len(bundle.artifacts) > 2 else None)
        self.check = InputCheck.of(bundle.manifest) if bundle.json_input else None
        self._mode = str(bundle.manifest.get("input_check", EXPLAIN)) if self.check else OFF
        # A script may take something else than its model does. Then bodies that do not fit the signature are
        # answered, and it says nothing about those that are not.
        self._fitting = self._unfitting = 0

    def answer(self, payload: bytes) -> bytes:
        """Answer one input with a JSON object whose last member is the prediction.

        Raises
        ------
        BadInput
            If it is not UTF-8, not JSON where JSON is taken, or does not fit the signature.
        ScriptFailed
            If the script did not come to an answer with it.
        """
        try:
            text = payload.decode("utf-8")
        except UnicodeDecodeError as error:
            raise BadInput("The body is not UTF-8 text.") from error
        errors: tuple[FieldError, ...] = ()
        if self.bundle.json_input:
            try:
                document = read_json(text)
            except ValueError as error:
                raise BadInput(str(error)) from error
            errors = self._misfits(document)
            if errors and self._mode == ENFORCE:
                raise _misfit(errors)
            self._count(document)
        try:
            answer = encode_prediction(self.bundle.predict(text)).encode()
        # A script that calls sys.exit() must not take the server with it.
        except (Exception, SystemExit) as error:
            incident = uuid.uuid4().hex
            logger.exception("incident=%s The prediction script failed.", incident)
            if errors and self._fitting >= self._unfitting:
                raise _misfit(errors) from error
            raise ScriptFailed(incident) from error
        if errors:
            self._unfitting += 1
        else:
            self._fitting += 1
        return answer

    def _misfits(self, document: Any) -> tuple[FieldError, ...]:
        if self.check is None or self._mode == OFF:
            return ()
        return tuple(self.check.errors(document))

    def _count(self, document: Any) -> None:
        """Count before the script runs, for its failure is no reason to miss them; and never fail a call."""
        try:
            self.outliers.look(document)
        except Exception:
            logger.exception("Outliers of a call could not be counted.")


def _misfit(errors: tuple[FieldError, ...]) -> BadInput:
    more = f"; and {len(errors) - 1} more" if len(errors) > 1 else ""
    return BadInput(f"The input does not fit the model's signature: {errors[0]}{more}.", errors)
