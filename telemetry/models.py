"""The record: one row per authenticated call (contract §7). Written by `writer.py`, changed by nobody."""

from collections.abc import Mapping
from typing import Any, ClassVar, NoReturn

import msgspec
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone

from telemetry.audit.verifier import is_checkpoint, is_tombstone
from telemetry.failures import KINDS
from telemetry.fields import KeptJSON

_decode = msgspec.json.decode
FILTERED = (
    *("tool_id", "token_id", "provider", "model", "method", "outcome", "request_id", "trace_id"),
    *("peer", "config_version"),
)
"""What the record is filtered by (`search.py`): each has an index in which its rows lie in the order of time."""


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
    attempts = KeptJSON(default=list)
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
    sanitised = KeptJSON(default=dict)
    config_version = models.PositiveIntegerField(default=0)
    decision = KeptJSON(default=dict)
    request_digest = models.CharField(max_length=100, blank=True)
    prompt_digest = models.CharField(max_length=100, blank=True)
    answer_digest = models.CharField(max_length=100, blank=True)
    chain = models.CharField(max_length=32, blank=True, editable=False)
    sequence = models.PositiveBigIntegerField(null=True, editable=False)
    hash = models.CharField(max_length=64, blank=True, editable=False)
    unread: Mapping[str, str] = {}
    """By column, the text that somebody put there and that cannot be read as what the column holds (`odd_rows.py`)."""

    class Meta:
        ordering = ("-pk",)
        permissions = [
            ("export_requestlog", "Can export the record of calls"),
            ("find_text", "Can ask whether a text was sent"),
        ]
        constraints = [
            models.UniqueConstraint(fields=("chain", "sequence"), name="record_once_per_place_in_chain")
        ]
        verbose_name = "call"
        verbose_name_plural = "record of calls"
        indexes = [
            *(models.Index(fields=(column, "started_at"), name=f"record_{column}_at") for column in FILTERED),
            models.Index(fields=("request_digest", "-id"), name="record_by_request_digest"),
            models.Index(fields=("prompt_digest", "-id"), name="record_by_prompt_digest"),
            models.Index(fields=("answer_digest", "-id"), name="record_by_answer_digest"),
        ]

    def __str__(self) -> str:
        return str(self.call_id or "a call whose id cannot be read")

    @property
    def digested(self) -> list[str]:
        """Of what there are digests."""
        return [name for name in ("request", "prompt", "answer") if getattr(self, f"{name}_digest")]


class Signed(models.Model):
    """Something that was signed about a chain. `line`: the whole entry as one line of JSON, signature included."""

    PLACE: ClassVar[tuple[str, ...]]
    """The columns that say again what was signed. The first one names its place in the chain."""

    chain = models.CharField(max_length=32)
    signed_at = models.DateTimeField()
    line = models.TextField()

    class Meta:
        abstract = True

    def entry(self) -> dict[str, Any]:
        """What was signed. Of a line that somebody made unreadable, what is left: it has no signature."""
        try:
            told = _decode(self.line)
        except (ValueError, TypeError, RecursionError):
            told = None
        return told if self.is_sound(told) else self.remains()

    def columns(self, entry: dict[str, Any]) -> tuple[int, ...]:
        """Abstract: what `PLACE` has to hold by what was signed."""
        raise NotImplementedError

    def is_sound(self, told: Any) -> bool:
        """Abstract: whether it has all that a verification reads, each of its kind."""
        raise NotImplementedError

    def remains(self) -> dict[str, Any]:
        """Abstract: the place of it, from the columns, without a signature."""
        raise NotImplementedError


class AuditCheckpoint(Signed):
    """Says which hash the row `sequence` has. `number`: 1, 2, … within the chain."""

    PLACE = ("number", "sequence")
    number = models.PositiveBigIntegerField()
    sequence = models.PositiveBigIntegerField()

    class Meta:
        ordering = ("-pk",)
        verbose_name = "checkpoint"
        constraints = [models.UniqueConstraint(fields=("chain", "number"), name="checkpoint_once_per_number")]
        indexes = [models.Index(fields=("chain", "sequence"), name="checkpoint_by_sequence")]

    def __str__(self) -> str:
        return f"{self.chain} {self.number}: up to row {self.sequence}"

    def columns(self, entry: dict[str, Any]) -> tuple[int, ...]:
        return entry["number"], entry["sequence"]

    def is_sound(self, told: Any) -> bool:
        return is_checkpoint(told)

    def remains(self) -> dict[str, Any]:
        told = {"chain": self.chain, "number": self.number, "sequence": self.sequence}
        return told | dict.fromkeys(("hash", "previous", "signature", "key"), "")


class AuditTombstone(Signed):
    """Covers rows that were removed for their age, `first` to `last`; what lies between may still be there."""

    PLACE = ("first", "last", "rows")
    first = models.PositiveBigIntegerField()
    last = models.PositiveBigIntegerField()
    rows = models.PositiveBigIntegerField()

    class Meta:
        ordering = ("-pk",)
        verbose_name = "tombstone"
        indexes = [models.Index(fields=("chain", "first"), name="tombstone_by_first")]

    def __str__(self) -> str:
        return f"{self.chain}: {self.rows} rows from {self.first} to {self.last}"

    def columns(self, entry: dict[str, Any]) -> tuple[int, ...]:
        runs = entry["runs"]
        return runs[0][0], runs[-1][1], sum(last - first + 1 for first, last, *_ in runs)

    def is_sound(self, told: Any) -> bool:
        return is_tombstone(told)

    def remains(self) -> dict[str, Any]:
        return {"chain": self.chain, "runs": [[self.first, self.last, "", ""]], "signature": "", "key": ""}


class RetentionRule(models.Model):
    """How long calls are kept. The rule that names most applies: client and outcome, client, outcome, neither."""

    tool_id = models.CharField("client", max_length=200, blank=True, help_text="Empty: every client.")
    outcome = models.CharField(
        max_length=30,
        blank=True,
        help_text="As the record shows it, for example ok or RATE_LIMIT. Empty: every one.",
    )
    days = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(36_500)],
        help_text="Calls older than this are removed. Empty: these are kept for good.",
    )

    class Meta:
        ordering = ("tool_id", "outcome")
        constraints = [
            models.UniqueConstraint(fields=("tool_id", "outcome"), name="one_rule_per_client_and_outcome"),
            models.CheckConstraint(
                condition=models.Q(days__isnull=True) | models.Q(days__gte=1), name="retention_days_positive"
            ),
        ]

    def __str__(self) -> str:
        kept = "for good" if self.days is None else f"{self.days} day{'' if self.days == 1 else 's'}"
        return f"{self.tool_id or 'every client'}, {self.outcome or 'every outcome'}: {kept}"


class LegalHold(models.Model):
    """Calls that must not be removed, whatever the rules say, until the hold is released."""

    reason = models.CharField(
        max_length=500, help_text="Why these calls are kept, for example a case number."
    )
    tool_id = models.CharField("client", max_length=200, blank=True, help_text="Empty: every client.")
    since = models.DateTimeField(
        null=True, blank=True, help_text="Calls from then on. Empty: from the first."
    )
    until = models.DateTimeField(
        null=True, blank=True, help_text="Calls before then. Empty: also those to come."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    released_at = models.DateTimeField(
        null=True, blank=True, help_text="Set to release it; the hold stays listed."
    )

    class Meta:
        ordering = ("-pk",)

    def __str__(self) -> str:
        return self.reason

    def clean(self) -> None:
        """A hold of before these rules can be released all the same."""
        if self._state.adding and self.since and self.until and self.until <= self.since:
            raise ValidationError({"until": "It has to come after “since”: this would hold nothing."})
        now = timezone.now()
        if self.released_at and self.released_at > now:
            moment = f"{now:%Y-%m-%d %H:%M:%S} UTC"
            raise ValidationError({"released_at": f"It has to be in the past: it is {moment}."})


class AuditVerification(models.Model):
    """What a verification of the record found. `findings`: at most the first hundred, in words."""

    started_at = models.DateTimeField()
    finished_at = models.DateTimeField()
    by = models.CharField(max_length=150)
    scope = models.CharField(max_length=200)
    whole = models.BooleanField(
        default=False, help_text="All rows, against the gateway's own copies and keys."
    )
    rows = models.PositiveBigIntegerField()
    found = models.PositiveBigIntegerField()
    findings = models.JSONField(default=list)

    class Meta:
        ordering = ("-pk",)
        verbose_name = "verification"

    def __str__(self) -> str:
        findings = "1 finding" if self.found == 1 else f"{self.found} findings"
        return (
            f"{self.started_at:%Y-%m-%d %H:%M}: {findings} in {self.rows} row{'' if self.rows == 1 else 's'}"
        )


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


class SavedFilter(models.Model):
    """A filter of the record under a name. `query`: as it stands in the list's address. Shared: others see it too."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=60)
    query = models.CharField(max_length=2_000)
    shared = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name", "pk")
        constraints = [
            models.UniqueConstraint(fields=("owner", "name"), name="filter_once_per_owner_and_name")
        ]

    def __str__(self) -> str:
        return self.name


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

    @property
    def days_are_over(self) -> bool:
        return self.expires_at <= timezone.now()


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
        verbose_name_plural = "opened content"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.who}, {self.created_at:%Y-%m-%d %H:%M}"

    def save(self, *args: Any, **more: Any) -> None:
        if self.pk is not None:
            raise TypeError("These rows are never changed")
        super().save(*args, **more)

    def delete(self, *args: Any, **more: Any) -> NoReturn:
        raise TypeError("These rows are never deleted")
