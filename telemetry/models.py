"""The record: one row per authenticated call (contract §7). Written by `writer.py`, changed by nobody."""

from typing import Any, NoReturn

from django.db import models
from django.utils import timezone

from telemetry.failures import KINDS


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
    request_digest = models.CharField(max_length=100, blank=True)
    prompt_digest = models.CharField(max_length=100, blank=True)
    answer_digest = models.CharField(max_length=100, blank=True)

    class Meta:
        ordering = ("-pk",)
        verbose_name = "call"
        verbose_name_plural = "record of calls"
        permissions = [("find_text", "Can ask whether a text was sent")]
        indexes = [
            models.Index(fields=("tool_id", "-id"), name="record_by_client"),
            models.Index(fields=("outcome", "-id"), name="record_by_outcome"),
            models.Index(fields=("provider", "-id"), name="record_by_provider"),
            models.Index(fields=("request_id",), name="record_by_request_id"),
            models.Index(fields=("request_digest", "-id"), name="record_by_request_digest"),
            models.Index(fields=("prompt_digest", "-id"), name="record_by_prompt_digest"),
            models.Index(fields=("answer_digest", "-id"), name="record_by_answer_digest"),
        ]

    def __str__(self) -> str:
        return str(self.call_id)

    @property
    def digested(self) -> list[str]:
        """Of what there are digests."""
        return [name for name in ("request", "prompt", "answer") if getattr(self, f"{name}_digest")]

    @property
    def captured(self) -> "CapturedContent | None":
        """What of it is kept, without the content."""
        kept = CapturedContent.objects.defer("ciphertext")
        return kept.filter(call_id=self.call_id, expires_at__gt=timezone.now()).first()


class CallRollup(models.Model):
    """Calls summed up by time and by whom: what the home page reads instead of the record. Kept by the writer.

    `dimension` and `name`: all calls (""), those last sent to a provider, or those of a client. `latency` and
    `first_event`: how many calls fell into each bucket of `telemetry.sums.BUCKETS_MS`.
    """

    PERIODS = (("minute", "minute"), ("hour", "hour"), ("day", "day"))
    DIMENSIONS = (("all", "all"), ("provider", "provider"), ("client", "client"))

    period = models.CharField(max_length=6, choices=PERIODS)
    dimension = models.CharField(max_length=8, choices=DIMENSIONS)
    start = models.DateTimeField()
    name = models.CharField(max_length=200, blank=True)
    calls = models.PositiveBigIntegerField(default=0)
    errors = models.PositiveBigIntegerField(default=0)
    input_tokens = models.PositiveBigIntegerField(default=0)
    output_tokens = models.PositiveBigIntegerField(default=0)
    outcomes = models.JSONField(default=dict)
    latency = models.JSONField(default=list)
    first_event = models.JSONField(default=list)

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


class FailedAuthentication(models.Model):
    """Calls of one minute that one address made without a good token. Kept by the writer; never a token."""

    started_at = models.DateTimeField("minute")
    address = models.CharField(max_length=64)
    kind = models.CharField(max_length=20, choices=list(KINDS.items()))
    route = models.CharField(max_length=100)
    count = models.PositiveIntegerField("calls", default=0)
    first_seen = models.DateTimeField()
    last_seen = models.DateTimeField()
    counted_by = models.JSONField(
        default=dict, help_text="How many of them each process counted: what is told twice counts once."
    )

    class Meta:
        ordering = ("-started_at", "-pk")
        verbose_name = "failed authentication"
        verbose_name_plural = "failed authentication"
        constraints = [
            models.UniqueConstraint(
                fields=("started_at", "address", "kind"), name="failure_once_per_minute_address_kind"
            )
        ]
        indexes = [models.Index(fields=("address", "-started_at"), name="failure_by_address")]

    def __str__(self) -> str:
        return f"{self.address}, {self.started_at:%Y-%m-%d %H:%M}"


class CapturedContent(models.Model):
    """What was asked and answered in one call, sealed. Only where the client's setting says so, and for its days."""

    call_id = models.UUIDField(unique=True)
    tool_id = models.CharField("client", max_length=200)
    key_id = models.CharField("encryption key", max_length=16)
    ciphertext = models.BinaryField(editable=False)
    size = models.PositiveIntegerField("bytes")
    stored_at = models.DateTimeField("call ended at")
    expires_at = models.DateTimeField("kept until", db_index=True)

    class Meta:
        ordering = ("-pk",)
        verbose_name = "kept content"
        verbose_name_plural = "kept content"
        default_permissions = ("view",)
        permissions = [("open_content", "Can open kept content, giving a reason")]

    def __str__(self) -> str:
        return str(self.call_id)


class AppendOnly(models.QuerySet):
    """Rows are added. What was added, stays."""

    def update(self, **columns: Any) -> NoReturn:
        raise TypeError("These rows are never changed")

    def delete(self) -> NoReturn:
        raise TypeError("These rows are never deleted")


class ContentAccess(models.Model):
    """Who opened the content of a call, when and why. Written before it is shown; outlives what it tells of."""

    created_at = models.DateTimeField("when", auto_now_add=True, db_index=True)
    who = models.CharField(max_length=150)
    call_id = models.UUIDField(db_index=True)
    reason = models.CharField(max_length=500)

    objects = AppendOnly.as_manager()

    class Meta:
        ordering = ("-pk",)
        verbose_name = "opening of content"
        verbose_name_plural = "openings of content"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.who}, {self.created_at:%Y-%m-%d %H:%M}"

    def save(self, *args: Any, **more: Any) -> None:
        if self.pk is not None:
            raise TypeError("These rows are never changed")
        super().save(*args, **more)

    def delete(self, *args: Any, **more: Any) -> NoReturn:
        raise TypeError("These rows are never deleted")
