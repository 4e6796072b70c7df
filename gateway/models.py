"""Versions of the configuration, and what the files looked like when they last met the database."""

from django.db import models


class ConfigVersion(models.Model):
    """One change of providers or clients. Processes watch for the newest; every call is recorded with one."""

    created_at = models.DateTimeField(auto_now_add=True)
    author = models.CharField(max_length=150, blank=True)
    reason = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ("-pk",)
        verbose_name = "configuration version"

    def __str__(self) -> str:
        return f"version {self.pk}"


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
