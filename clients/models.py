"""The tables of clients, their tokens and what they may do. `loader.py` turns them into a `Directory`."""

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q

from clients.permissions import parse_networks
from clients.types import CAPTURE_DAYS, CAPTURES, METHODS, MOST_CAPTURE_DAYS

METHOD_CHOICES = [(name, name) for name in METHODS]
CAPTURE_WORDS = {"off": "not kept", "failures": "kept of calls that fail", "all": "kept of all calls"}
CAPTURE_CHOICES = [(name, CAPTURE_WORDS[name]) for name in CAPTURES]


def validate_networks(value: object) -> None:
    if value is None:
        return
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValidationError("A list of networks such as 10.1.0.0/16.")
    if wrong := [said for item in value if (said := _no_network(item))]:
        raise ValidationError(wrong)


def _no_network(text: str) -> str:
    try:
        parse_networks([text])
    except ValueError as error:
        return str(error)
    return ""


def validate_names(value: object) -> None:
    if value is None:
        return
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise ValidationError("A list of names.")


class Client(models.Model):
    """A tool that calls the gateway. What is empty is not restricted."""

    tool_id = models.CharField("tool id", max_length=200, unique=True)
    enabled = models.BooleanField(default=True, help_text="Tokens of a disabled client are refused.")
    allowed_networks = models.JSONField(null=True, blank=True, validators=[validate_networks])
    allowed_providers = models.JSONField(null=True, blank=True, validators=[validate_names])
    allowed_models = models.JSONField(null=True, blank=True, validators=[validate_names])
    max_requests = models.PositiveIntegerField(
        null=True, blank=True, help_text="Calls per interval. Empty: the default of the environment."
    )
    interval_ms = models.PositiveIntegerField("interval (ms)", null=True, blank=True)
    max_concurrency = models.PositiveIntegerField(
        "calls at once", null=True, blank=True, help_text="More are refused with 429. Empty: no limit."
    )
    capture = models.CharField(
        "content",
        max_length=10,
        choices=CAPTURE_CHOICES,
        default="off",
        help_text="What is asked and answered, encrypted. Whoever opens it gives a reason, which is recorded.",
    )
    capture_days = models.PositiveSmallIntegerField("days it is kept", default=CAPTURE_DAYS)
    position = models.PositiveIntegerField(default=0, editable=False)
    notes = models.TextField(null=True, blank=True)

    class Meta:
        ordering = ("position", "pk")
        constraints = [
            models.CheckConstraint(condition=~Q(tool_id=""), name="client_has_tool_id"),
            models.CheckConstraint(
                condition=Q(max_requests__isnull=True, interval_ms__isnull=True)
                | Q(max_requests__gte=1, interval_ms__gte=1),
                name="client_limit_is_whole",
            ),
            models.CheckConstraint(
                condition=Q(max_concurrency__isnull=True) | Q(max_concurrency__gte=1),
                name="client_max_concurrency_positive",
            ),
            models.CheckConstraint(condition=Q(capture__in=CAPTURES), name="client_capture_is_known"),
            models.CheckConstraint(
                condition=Q(capture_days__gte=1, capture_days__lte=MOST_CAPTURE_DAYS),
                name="client_capture_days_in_range",
            ),
        ]

    def __str__(self) -> str:
        return self.tool_id


class ClientToken(models.Model):
    """A token, as its keyed digest. The token itself is shown once, when it is issued, and kept nowhere."""

    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="tokens")
    token_id = models.CharField(max_length=64, unique=True, editable=False)
    key_id = models.CharField("pepper", max_length=16, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ("client", "pk")
        constraints = [
            models.CheckConstraint(condition=~Q(token_id=""), name="token_has_id"),
            models.CheckConstraint(condition=Q(digest__regex=r"^[0-9a-f]{64}$"), name="token_digest_is_hex"),
        ]

    def __str__(self) -> str:
        return f"{self.client} {self.token_id}"


class MethodPermission(models.Model):
    """That a client may call a method."""

    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="permissions")
    method = models.CharField(max_length=20, choices=METHOD_CHOICES)
    position = models.PositiveIntegerField(default=0, editable=False)

    class Meta:
        ordering = ("client", "position", "pk")
        constraints = [
            models.UniqueConstraint(fields=("client", "method"), name="method_once_per_client"),
            models.CheckConstraint(condition=Q(method__in=METHODS), name="method_is_known"),
        ]

    def __str__(self) -> str:
        return f"{self.client} may {self.method}"


class RegistryHeader(models.Model):
    """What `client-registry.json` carries beside the clients: `$schema` and `description`. One row at most."""

    schema = models.TextField(null=True, blank=True)
    description = models.TextField(null=True, blank=True)

    class Meta:
        verbose_name = "header of client-registry.json"
        verbose_name_plural = "header of client-registry.json"

    def __str__(self) -> str:
        return "client-registry.json"
