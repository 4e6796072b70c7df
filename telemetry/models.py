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
