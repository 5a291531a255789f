"""The ways to a collector: OpenTelemetry's own exporters, as a target says."""

from __future__ import annotations

import logging
import os
import ssl
import threading
import time

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from strongroom.errors import ConfigurationError, StrongroomError
from strongroom.telemetry import quiet
from strongroom_otel.answers import check_count
from strongroom_otel.failures import UndeliveredError
from strongroom_otel.target import GRPC

if TYPE_CHECKING:
    from strongroom_otel.session import WatchedSession
    from strongroom_otel.target import Target

_EXPORTERS: Final = {
    "traces": ("trace_exporter", "OTLPSpanExporter"),
    "metrics": ("metric_exporter", "OTLPMetricExporter"),
    "logs": ("_log_exporter", "OTLPLogExporter"),
}
# Read once, when gRPC is loaded: whether a forked child can use it, and that it prints nothing by itself.
_WHILE_LOADING: Final = {"GRPC_ENABLE_FORK_SUPPORT": "1", "GRPC_VERBOSITY": "NONE"}


class Way:
    """The way to a collector for one kind of data; a forked child has a new one. One thread at a time uses it.

    Args:
        target: Where to.
        patient: Whether a request that had no answer is repeated within the target's time.

    Raises:
        ConfigurationError: A file or header is not usable, or gRPC is not installed.
    """

    def __init__(self, target: Target, *, patient: bool) -> None:
        target.read_headers()
        check_files(target)
        self._target = target
        self._patient = patient
        self._ending = threading.Event()
        self._session: WatchedSession | None = None
        # Never let go of in a child: that could end what the parent still uses.
        self._inherited: list[Any] = []
        self._pid = os.getpid()
        self._made: Any = None
        _ = self.exporter  # what cannot be made is told now

    @property
    def exporter(self) -> Any:
        """OpenTelemetry's exporter.

        Raises:
            ConfigurationError: None can be made: a header is not there any more.
        """
        if self._pid != os.getpid():
            self._inherited.append((self._made, self._session))
            self._made, self._pid = None, os.getpid()
        if self._made is None:
            self._made = self._over_grpc() if self._target.protocol == GRPC else self._over_http()
        return self._made

    def send(self, batch: Any, **options: Any) -> None:
        """Send a batch; on return the collector has confirmed it. It is given up once the target's time is over.

        Args:
            batch: What the exporter takes.
            options: Of the exporter.

        Raises:
            UndeliveredError: It has not.
        """
        target, outcome = self._target, list[UndeliveredError | None]()
        begun = time.monotonic()
        try:
            work = partial(self._deliver, self.exporter, self._session, outcome, batch, options)
        except StrongroomError as error:
            raise UndeliveredError(error.what, hint=error.hint) from error
        # The exporter's own limit is for each step by itself, and looking up a host has none.
        thread = threading.Thread(target=work, name="strongroom-otel", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            work()  # there are too many threads, or the interpreter ends and starts none
        try:
            if thread.ident is not None:
                thread.join(target.seconds)
        finally:
            # What comes later comes too late: the connection's end may look like an answer.
            is_done = bool(outcome)
            if not is_done:
                self._give_up()
        failure = outcome[0] if is_done else self._too_late()
        if failure is not None:
            is_late = target.protocol == GRPC and time.monotonic() - begun >= target.seconds
            raise self._too_late() if is_late else failure

    def _too_late(self) -> UndeliveredError:
        reason = f"the collector at {self._target} did not answer within {self._target.seconds:g} s"
        return UndeliveredError(reason, again=True, slow=True)

    def _deliver(
        self,
        exporter: Any,
        session: WatchedSession | None,
        outcome: list[UndeliveredError | None],
        batch: Any,
        options: dict[str, Any],
    ) -> None:
        try:
            with quiet():
                result = exporter.export(batch, **options)
        except UndeliveredError as error:
            outcome.append(error)
            return
        # Foreign code: whatever it raises, nothing has been confirmed; its text may be a header's.
        except Exception as error:  # noqa: BLE001  # see above
            outcome.append(UndeliveredError(f"OpenTelemetry's exporter failed with {type(error).__name__}"))
            return
        failure = session.failure if session is not None else None
        # The exporter takes some answers for success that we do not.
        if result.name == "SUCCESS" and failure is None:
            outcome.append(None)
            return
        hint = "see endpoint, which must be the port for gRPC, and headers" if session is None else ""
        reason = f"the collector at {self._target} cannot be reached, or does not take it"
        outcome.append(failure or UndeliveredError(reason, hint=hint, again=True))

    def _give_up(self) -> None:
        """Let go of a connection on which something is under way; the next request makes another one."""
        self._made, session = None, self._session
        if session is not None:
            session.hang_up()

    def end(self) -> None:
        """Have nothing repeated from now on, by no thread."""
        self._ending.set()

    def close(self) -> None:
        """End the connection; a forked child leaves its parent's alone, and another one is made if there is more."""
        self.end()
        if self._pid == os.getpid() and self._made is not None:
            self._made.shutdown()
            self._made = None
        self._ending = threading.Event()

    def _over_http(self) -> Any:
        from opentelemetry.exporter.otlp.proto.http import Compression

        from strongroom_otel.session import WatchedSession

        target = self._target
        self._session = WatchedSession(target, self._ending, patient=self._patient)
        made = _exporter_class("http", target.signal)
        with _discreet():
            return made(
                endpoint=f"{target}{target.path}",
                certificate_file=target.ca_file,
                # Unless told otherwise a variable would say which key goes with our certificate.
                client_key_file=target.client_key or target.client_cert,
                client_certificate_file=target.client_cert,
                timeout=target.seconds,
                compression=Compression.Gzip if target.compression == "gzip" else Compression.NoCompression,
                session=self._session,
            )

    def _over_grpc(self) -> Any:
        target = self._target
        with _variables(), _discreet():
            made = _checking(_exporter_class("grpc", target.signal), target)
            import grpc

            # What overloads a collector may be taken later; to wait for one that is gone would stop whoever waits.
            codes = {} if self._patient else {"retryable_error_codes": [grpc.StatusCode.RESOURCE_EXHAUSTED]}
            return made(
                endpoint=str(target),
                insecure=not target.is_secure,
                credentials=_credentials(target, grpc) if target.is_secure else None,
                headers=tuple(map(_metadata, target.read_headers().items())),
                timeout=target.seconds,
                compression=grpc.Compression.Gzip if target.compression == "gzip" else grpc.Compression.NoCompression,
                **codes,
            )


def keep_still(name: str) -> None:
    """Keep messages of OpenTelemetry from the terminal where nobody has set logging up: ours says what is needed.

    Args:
        name: The logger's.
    """
    logger = logging.getLogger(name)
    if not logger.hasHandlers():
        logger.addHandler(logging.NullHandler())


def check_files(target: Target) -> None:
    """Look whether the files of certificates can be used.

    Raises:
        ConfigurationError: One cannot be read, or does not hold what it should.
    """
    if not target.is_secure:
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if target.ca_file is not None:
            context.load_verify_locations(cafile=target.ca_file)
    except OSError as error:
        raise _unusable("the authorities' certificates", target.ca_file, error) from error
    try:
        if target.client_cert is not None:
            context.load_cert_chain(target.client_cert, target.client_key, password=_refuse)
    except OSError as error:
        raise _unusable("our own certificate with its key", target.client_cert, error) from error


def _refuse() -> str:
    # Else OpenSSL would ask for one at the terminal.
    raise ConfigurationError("the key of our own certificate is encrypted", hint="store it without a passphrase")


def _unusable(what: str, path: str | None, error: OSError) -> ConfigurationError:
    why = "not in PEM, or not a pair" if isinstance(error, ssl.SSLError) else error.strerror
    return ConfigurationError(f"{what} cannot be used for the collector: {why}", hint=f"the file is {path}")


def _exporter_class(transport: str, signal: str) -> Any:
    module, name = _EXPORTERS[signal]
    try:
        found = import_module(f"opentelemetry.exporter.otlp.proto.{transport}.{module}")
    except ImportError as error:
        if transport != GRPC:
            raise
        raise ConfigurationError(
            'protocol "grpc" needs gRPC, which is not installed', hint="run: pip install 'strongroom-otel[grpc]'"
        ) from error
    return getattr(found, name)


def _checking(exporter_class: Any, target: Target) -> Any:
    """Return a class of exporters for gRPC that look whether an answer rejects something, which theirs do not."""

    class Checking(exporter_class):  # type: ignore[misc]  # imported only now
        _client: Any

        def _initialize_channel_and_stub(self) -> None:
            super()._initialize_channel_and_stub()
            export = self._client.Export

            def checked(**request: Any) -> Any:
                answer = export(**request)
                check_count(target, answer)
                return answer

            self._client = SimpleNamespace(Export=checked)

    return Checking


def _credentials(target: Target, grpc: Any) -> Any:
    key = target.client_key or target.client_cert
    return grpc.ssl_channel_credentials(_content(target.ca_file), _content(key), _content(target.client_cert))


def _content(path: str | None) -> bytes | None:
    if path is None:
        return None
    with open(path, "rb") as file:
        return file.read()


def _metadata(header: tuple[str, str]) -> tuple[str, str | bytes]:
    # gRPC has bytes in those that end so.
    name, text = header
    return name, text.encode() if name.endswith("-bin") else text


@contextmanager
def _discreet() -> Iterator[None]:
    """Keep from all logs what OpenTelemetry says of a variable's headers: it shows those that it cannot read."""
    here = threading.current_thread().name
    logger = logging.getLogger("opentelemetry.util.re")

    def is_another(record: logging.LogRecord) -> bool:
        return record.threadName != here

    logger.addFilter(is_another)
    try:
        yield
    finally:
        logger.removeFilter(is_another)


@contextmanager
def _variables() -> Iterator[None]:
    """Set what gRPC reads when it begins, unless somebody else has, and take it back: programs inherit it."""
    added = {name: text for name, text in _WHILE_LOADING.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
