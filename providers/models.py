"""The tables of providers. The request path never reads them: `loader.py` turns them into a frozen catalogue."""

import uuid

from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q

from providers.adapters import ADAPTERS
from providers.types import CAPABILITIES

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
PRINTABLE = RegexValidator(r"\A[^\x00-\x1f\x7f]+\Z", "No control characters.")
AT_LEAST_1 = [MinValueValidator(1, "At least 1, or empty.")]
KIND_CHOICES = [(kind, adapter.label) for kind, adapter in ADAPTERS.items()]
CAPABILITY_CHOICES = [(name, name) for name in CAPABILITIES]


class CredentialSource(models.TextChoices):
    DEFAULT = "default", "The kind's own environment variable, if it has one"
    ENV = "env", "Environment variable"
    FILE = "file", "File"
    STORED = "stored", "Kept in the database, encrypted"


def _positive(field: str) -> Q:
    return Q(**{f"{field}__isnull": True}) | Q(**{f"{field}__gte": 1})


class Provider(models.Model):
    """One service that answers calls. `position` is the routing order among equals."""

    name = models.CharField(
        max_length=100,
        unique=True,
        validators=[RegexValidator(rf"\A{NAME_PATTERN}\Z", "Letters, digits, dots, dashes and underscores.")],
        help_text="How clients and records name it. Letters, digits, dots, dashes and underscores.",
    )
    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    kind = models.CharField(max_length=50, choices=KIND_CHOICES, help_text="Which dialect it speaks.")
    base_url = models.CharField("base URL", max_length=500, help_text="For example http://localhost:1234/v1")
    default_model = models.CharField(
        max_length=500,
        validators=[PRINTABLE],
        help_text="Asked for when neither the caller nor a capability names a model.",
    )
    position = models.PositiveIntegerField(default=0, db_index=True)
    enabled = models.BooleanField(default=True, help_text="Disabled providers are kept but never called.")
    credential_source = models.CharField(
        max_length=10, choices=CredentialSource.choices, default=CredentialSource.DEFAULT
    )
    credential_name = models.CharField(
        max_length=500,
        blank=True,
        help_text="The environment variable's name or the file's path. Never the key itself.",
    )
    stored_credential = models.BinaryField(null=True, blank=True, editable=False)
    connect_ms = models.PositiveIntegerField(
        "connect timeout (ms)", null=True, blank=True, validators=AT_LEAST_1
    )
    first_event_ms = models.PositiveIntegerField(
        "first event timeout (ms)", null=True, blank=True, validators=AT_LEAST_1
    )
    idle_ms = models.PositiveIntegerField("idle timeout (ms)", null=True, blank=True, validators=AT_LEAST_1)
    total_ms = models.PositiveIntegerField("total timeout (ms)", null=True, blank=True, validators=AT_LEAST_1)
    max_concurrency = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=AT_LEAST_1,
        help_text="Calls at once; others wait for a place. Empty: no limit.",
    )
    notes = models.TextField(null=True, blank=True)

    class Meta:
        ordering = ("position", "pk")
        constraints = [
            models.CheckConstraint(condition=~Q(base_url=""), name="provider_has_base_url"),
            models.CheckConstraint(condition=~Q(default_model=""), name="provider_has_default_model"),
            models.CheckConstraint(
                condition=Q(credential_source__in=("env", "file")) ^ Q(credential_name=""),
                name="provider_credential_name_fits_source",
            ),
            *(
                models.CheckConstraint(condition=_positive(field), name=f"provider_{field}_positive")
                for field in ("connect_ms", "first_event_ms", "idle_ms", "total_ms", "max_concurrency")
            ),
        ]

    def __str__(self) -> str:
        return self.name


class ProviderCapability(models.Model):
    """That a provider answers a capability, with which model by default, and how well."""

    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="capability_rows")
    capability = models.CharField(max_length=20, choices=CAPABILITY_CHOICES)
    declared = models.BooleanField(
        default=True, help_text="Whether calls may be routed here. A default or score alone does not do that."
    )
    default_model = models.CharField(
        max_length=500, blank=True, validators=[PRINTABLE], help_text="Worth 50 points when set."
    )
    score = models.FloatField(
        null=True, blank=True, help_text="The highest is asked first. Empty counts as 0."
    )
    position = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ("provider", "position", "pk")
        verbose_name_plural = "provider capabilities"
        constraints = [
            models.UniqueConstraint(fields=("provider", "capability"), name="capability_once_per_provider"),
            models.CheckConstraint(condition=Q(capability__in=CAPABILITIES), name="capability_is_known"),
        ]

    def __str__(self) -> str:
        return f"{self.provider}: {self.capability}"


class ProviderModel(models.Model):
    """A model of a provider: configured by an operator, or found by discovery."""

    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="model_rows")
    model_id = models.CharField("model", max_length=500, validators=[PRINTABLE])
    configured = models.BooleanField(default=True)
    discovered_at = models.DateTimeField(null=True, blank=True, editable=False)
    position = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ("provider", "position", "pk")
        constraints = [
            models.UniqueConstraint(fields=("provider", "model_id"), name="model_once_per_provider"),
            models.CheckConstraint(condition=~Q(model_id=""), name="provider_model_has_id"),
        ]

    def __str__(self) -> str:
        return f"{self.provider}/{self.model_id}"


class ModelAlias(models.Model):
    """Another name for one model of one provider; it goes when its provider goes."""

    name = models.CharField(max_length=500, unique=True, validators=[PRINTABLE])
    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="aliases")
    model_id = models.CharField("model", max_length=500, validators=[PRINTABLE])
    position = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ("position", "pk")
        verbose_name_plural = "model aliases"
        constraints = [
            models.CheckConstraint(condition=~Q(name=""), name="alias_has_name"),
            models.CheckConstraint(condition=~Q(model_id=""), name="alias_has_model"),
        ]

    def __str__(self) -> str:
        return f"{self.name} → {self.target}"

    @property
    def target(self) -> str:
        return f"{self.provider.name}/{self.model_id}"


class FileHeader(models.Model):
    """What `providers.json` carries beside the providers: `$schema` and `description`. One row at most."""

    schema = models.TextField(null=True, blank=True)
    description = models.TextField(null=True, blank=True)

    class Meta:
        verbose_name = "header of providers.json"
        verbose_name_plural = "header of providers.json"

    def __str__(self) -> str:
        return "providers.json"
