"""Spans and metrics: what they are called, which attributes they may have, and the one way to record them.

Only the OpenTelemetry API is used, and only if somebody else has imported it:
without it nobody can have set a provider, so nothing could arrive anywhere, and
importing it would cost each command more than its own work.
"""

from strongroom.telemetry.instruments import count as count
from strongroom.telemetry.instruments import count_resend as count_resend
from strongroom.telemetry.instruments import count_substitute as count_substitute
from strongroom.telemetry.instruments import count_transition as count_transition
from strongroom.telemetry.instruments import note as note
from strongroom.telemetry.instruments import note_health as note_health
from strongroom.telemetry.instruments import note_journal_length as note_journal_length
from strongroom.telemetry.names import ATTRIBUTES as ATTRIBUTES
from strongroom.telemetry.names import METRIC_ATTRIBUTES as METRIC_ATTRIBUTES
from strongroom.telemetry.names import METRICS as METRICS
from strongroom.telemetry.names import Metric as Metric
from strongroom.telemetry.quiet import quiet as quiet
from strongroom.telemetry.spans import CommandSpan as CommandSpan
from strongroom.telemetry.spans import Telemetry as Telemetry
from strongroom.telemetry.spans import error_type as error_type
from strongroom.telemetry.spans import note_exchange as note_exchange

# What plugins and tests may use; the rest is for the core alone.
__all__ = [
    "ATTRIBUTES",
    "METRICS",
    "METRIC_ATTRIBUTES",
    "Metric",
    "Telemetry",
    "count_resend",
    "error_type",
    "note_exchange",
    "quiet",
]
