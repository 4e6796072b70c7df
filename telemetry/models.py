"""The record: one row per authenticated call (contract §7). Written by `writer.py`, changed by nobody."""

from django.db import models


class RequestLog(models.Model):
    """Column meanings are those of `telemetry.types.CallRecord`; the primary key is the order of arrival."""

    call_id = models.UUIDField(unique=True)
    request_id = models.CharField(max_length=200, blank=True)
    trace_id = models.CharField(max_length=200, blank=True)
    tool_id = models.CharField("client", max_length=200)
    token_id = models.CharField(max_length=64)
    claimed_tool = models.CharField(max_length=200, blank=True)
    method = models.CharField(max_length=20)
    peer = models.CharField(max_length=64)
    provider = models.CharField(max_length=100, blank=True)
    model = models.CharField(max_length=500, blank=True)
    strategy = models.CharField(max_length=30, blank=True)
    attempts = models.JSONField(default=list)
    outcome = models.CharField(max_length=30)
    reason = models.CharField(max_length=50, blank=True)
    status = models.PositiveSmallIntegerField()
    started_at = models.DateTimeField(db_index=True)
    first_event_ms = models.PositiveIntegerField(null=True)
    duration_ms = models.PositiveIntegerField()
    input_tokens = models.PositiveBigIntegerField(default=0)
    output_tokens = models.PositiveBigIntegerField(default=0)
    bytes_in = models.PositiveBigIntegerField(default=0)
    bytes_out = models.PositiveBigIntegerField(default=0)
    sanitised = models.JSONField(default=dict)
    config_version = models.PositiveIntegerField(default=0)
    decision = models.JSONField(default=dict)

    class Meta:
        ordering = ("-pk",)
        verbose_name = "call"
        verbose_name_plural = "record of calls"
        indexes = [
            models.Index(fields=("tool_id", "-id"), name="record_by_client"),
            models.Index(fields=("outcome", "-id"), name="record_by_outcome"),
            models.Index(fields=("provider", "-id"), name="record_by_provider"),
            models.Index(fields=("request_id",), name="record_by_request_id"),
        ]

    def __str__(self) -> str:
        return str(self.call_id)


class CallRollup(models.Model):
    """Calls summed up by time and by whom: what the home page reads instead of the record. Kept by the writer.

    `dimension` and `name`: all calls (""), those last sent to a provider, or those of a client. The other columns
    are those of `telemetry.sums.Sum`; what versions before the longest was kept have summed up has null there.
    """

    PERIODS = (("minute", "minute"), ("hour", "hour"), ("day", "day"))
    DIMENSIONS = (("all", "all"), ("provider", "provider"), ("client", "client"))

    period = models.CharField(max_length=6, choices=PERIODS)
    dimension = models.CharField(max_length=8, choices=DIMENSIONS)
    start = models.DateTimeField()
    name = models.CharField(max_length=200, blank=True)
    calls = models.PositiveBigIntegerField(default=0)
    errors = models.PositiveBigIntegerField("not answered", default=0)
    input_tokens = models.PositiveBigIntegerField(default=0)
    output_tokens = models.PositiveBigIntegerField(default=0)
    outcomes = models.JSONField(default=dict)
    refused = models.JSONField(default=dict)
    latency = models.JSONField(default=list)
    first_event = models.JSONField(default=list)
    longest_ms = models.PositiveIntegerField("longest (ms)", null=True)
    longest_first_event_ms = models.PositiveIntegerField("longest to first token (ms)", null=True)

    class Meta:
        verbose_name = "roll-up of calls"
        verbose_name_plural = "roll-ups of calls"
        constraints = [
            models.UniqueConstraint(
                fields=("period", "dimension", "start", "name"), name="rollup_once_per_time_and_name"
            )
        ]

    def __str__(self) -> str:
        return f"{self.period} {self.start:%Y-%m-%d %H:%M} {self.dimension} {self.name}".strip()


class MethodUse(models.Model):
    """When a client last called a method that it may call. Kept by the writer, one row a client and method."""

    tool_id = models.CharField("client", max_length=200)
    method = models.CharField(max_length=20)
    last_at = models.DateTimeField("last used")

    class Meta:
        verbose_name = "method use"
        constraints = [models.UniqueConstraint(fields=("tool_id", "method"), name="use_once_per_grant")]

    def __str__(self) -> str:
        return f"{self.tool_id} {self.method}"
