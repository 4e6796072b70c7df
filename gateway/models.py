"""Versions of the configuration, what the files looked like when they last met it, and people's second factors."""

from django.conf import settings
from django.db import models


class ConfigVersion(models.Model):
    """One change of providers or clients. Processes watch for the newest; every call is recorded with one."""

    created_at = models.DateTimeField(auto_now_add=True)
    author = models.CharField(max_length=150, blank=True)
    reason = models.CharField(max_length=500, blank=True)
    before = models.BinaryField(
        null=True,
        editable=False,
        help_text="Both files as an export would have written them just before this change, as compressed JSON.",
    )
    added = models.PositiveIntegerField(null=True, editable=False)
    changed = models.PositiveIntegerField(null=True, editable=False)
    removed = models.PositiveIntegerField(null=True, editable=False)
    """Entries of the files; None until the version is summed up, and for good where an earlier release made it."""

    class Meta:
        ordering = ("-pk",)
        verbose_name = "configuration version"

    def __str__(self) -> str:
        return f"version {self.pk}"


class ConfigChange(models.Model):
    """One row added, changed or removed: who, when, and the fields before and after. Secrets are told as "changed"."""

    ACTIONS = (("added", "added"), ("changed", "changed"), ("removed", "removed"))

    version = models.ForeignKey(
        ConfigVersion,
        on_delete=models.SET_NULL,
        null=True,
        editable=False,
        related_name="changes",
        help_text="The version that it is part of. Staff accounts have none: calls do not depend on them.",
    )
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)
    author = models.CharField(max_length=150, blank=True)
    reason = models.CharField(max_length=500, blank=True)
    table = models.CharField(max_length=100, help_text="As Django names it, for example providers.provider.")
    object_id = models.CharField(max_length=64, blank=True, help_text="Leads to the row while it exists.")
    row = models.CharField(max_length=300, help_text="The name of what was changed; it outlives the row.")
    action = models.CharField(max_length=10, choices=ACTIONS)
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)

    class Meta:
        ordering = ("-pk",)
        verbose_name = "configuration change"
        indexes = [models.Index(fields=("table", "-id"), name="change_by_table")]

    def __str__(self) -> str:
        return f"{self.table.rpartition('.')[2]} {self.row} {self.action}"


class ConfigFile(models.Model):
    """Digests at the last import or export: of the file's bytes, and of what an export would have written."""

    name = models.CharField(max_length=50, unique=True)
    file_digest = models.CharField(max_length=64)
    content_digest = models.CharField(max_length=64)
    synced_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name = "configuration file"

    def __str__(self) -> str:
        return self.name


class StaffSecondFactor(models.Model):
    """What a staff member proves besides the password. In force once confirmed; see `second_factor.py`."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="second_factor", editable=False
    )
    sealed_secret = models.BinaryField("secret", editable=False)
    confirmed_at = models.DateTimeField(null=True, editable=False)
    last_step = models.BigIntegerField(
        default=0, editable=False, help_text="The newest time step whose code was taken; none is taken twice."
    )
    backup_digests = models.JSONField("backup codes", default=list, editable=False)

    class Meta:
        # Like users: for superusers only, so that there is no permission to give.
        default_permissions = ()
        verbose_name = "second factor"

    def __str__(self) -> str:
        return f"second factor of {self.user}"
