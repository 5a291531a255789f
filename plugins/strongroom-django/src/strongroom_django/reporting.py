"""Reports of errors, on the debug page, in mails to administrators and in logs, without the values from strongroom."""

from __future__ import annotations

import logging

from types import FrameType
from typing import Any

from django.utils.log import AdminEmailHandler
from django.views.debug import ExceptionReporter, SafeExceptionReporterFilter

from strongroom_django.hidden import known


class StrongroomExceptionReporterFilter(SafeExceptionReporterFilter):  # type: ignore[misc]  # Django has no types
    """Hides settings and local variables that hold a value, whatever they are called.

    What Django hides by the names of settings stays hidden. It acts with ``DEBUG``, too. A reporter of the class
    :class:`StrongroomExceptionReporter` uses it by itself.
    """

    def cleanse_setting(self, key: str, value: Any) -> Any:
        """Return a setting, or an entry of the request, as it may be shown.

        Args:
            key: Its name.
            value: Its value.
        """
        cleansed = super().cleanse_setting(key, value)
        # Their members have been here already.
        return cleansed if isinstance(cleansed, dict | list | tuple) else _shown(cleansed)

    def get_traceback_frame_variables(self, request: Any, tb_frame: FrameType) -> list[tuple[str, Any]]:
        """Return the local variables of a frame as they may be shown.

        Args:
            request: The request.
            tb_frame: The frame.
        """
        found = super().get_traceback_frame_variables(request, tb_frame)
        return [(name, _shown(value)) for name, value in found]


class StrongroomExceptionReporter(ExceptionReporter):  # type: ignore[misc]  # Django has no types
    """Writes reports in which each value that came through ``strongroom_django`` is masked, wherever it stands.

    ``DEFAULT_EXCEPTION_REPORTER = "strongroom_django.reporting.StrongroomExceptionReporter"``. A value is found in
    the error's own text, in variables, in the request, also encoded; see ``strongroom.masking`` for the forms, and
    for what no search can find.
    """

    filter: Any

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # One that somebody has written for himself stays.
        if type(self.filter) is SafeExceptionReporterFilter:
            self.filter = StrongroomExceptionReporterFilter()

    def get_traceback_html(self) -> str:
        """Return the report as a page."""
        return _masked(super().get_traceback_html())

    def get_traceback_text(self) -> str:
        """Return the report as text, as in mails."""
        return _masked(super().get_traceback_text())


class StrongroomAdminEmailHandler(AdminEmailHandler):  # type: ignore[misc]  # Django has no types
    """Mails log records to administrators as Django's own handler does, with values masked in subject and text, too.

    A reporter of errors has no say in the record's own message. Name this class in ``LOGGING``.
    """

    def send_mail(self, subject: str, message: str, *arguments: Any, **options: Any) -> None:
        """Send a mail without values in it.

        Args:
            subject: Its subject, made of the record's message.
            message: Its text, the record's message and a report.
            arguments: As Django has them.
            options: As Django has them.
        """
        if options.get("html_message"):
            options["html_message"] = _masked(options["html_message"])
        super().send_mail(_masked(subject), _masked(message), *arguments, **options)


class StrongroomFormatter(logging.Formatter):
    """Writes log records as ``logging.Formatter`` does, with values masked in message, traceback and stack.

    Django logs each error that a view raises with its traceback, whose last line is the error's own text. Name this
    class among the ``formatters`` of ``LOGGING``.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's text without values in it.

        Args:
            record: The record, which stays as it is: other handlers write it in their own way.
        """
        return _masked(super().format(record))


class _Shown:
    """Stands for something in whose ``repr`` a value was found."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _shown(value: Any) -> Any:
    """Return something as it is if it shows no value, else what may be shown of it.

    Before it is printed: what prints it may break long text into lines, where no value would be found any more.
    """
    try:
        text = repr(value)
    # Foreign code: Django's own printing has an answer to that.
    except Exception:  # noqa: BLE001  # see above
        return value
    masked = _masked(text)
    return value if masked == text else _Shown(masked)


def _masked(text: str) -> str:
    # A template's result is of a class of its own, for which replaced text would be plain text all the same.
    return known.masker().mask_text(str(text))
