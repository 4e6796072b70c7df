"""What protects the record, in the admin: signatures, tombstones and verifications to look at; rules and holds to set.

Only superusers set them: removing calls, or keeping them from being removed, is nobody's daily work.
"""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import DateTimeField, QuerySet
from django.http import HttpRequest
from django.urls import reverse

from telemetry import odd_rows
from telemetry.criteria import CLASSES
from telemetry.known_clients import doubt_about
from telemetry.models import AuditCheckpoint, AuditTombstone, AuditVerification, LegalHold, RetentionRule
from telemetry.named_calls import linked
from telemetry.read_only import ReadOnlyAdmin


class SignedAdmin(ReadOnlyAdmin):
    """The moment as text: one that somebody made unreadable would make the whole list so."""

    search_fields = ("chain__exact",)
    search_help_text = "The whole name of a chain."
    sortable_by = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return odd_rows.with_text(super().get_queryset(request), "signed_at")

    @admin.display(description="Signed at")
    def signed(self, row: Any) -> str:
        return odd_rows.in_words(row.said)


@admin.register(AuditCheckpoint)
class CheckpointAdmin(SignedAdmin):
    empty_says = "Nothing has been signed yet. The first call that is recorded will be."
    empty_link = ("Record of calls", "admin:telemetry_requestlog_changelist")
    list_display = ("signed", "chain", "number", "sequence")
    fields = readonly_fields = ("chain", "signed", "number", "sequence", "line")


@admin.register(AuditTombstone)
class TombstoneAdmin(SignedAdmin):
    empty_says = "No call has been removed for its age. Retention rules decide which are."
    empty_link = ("Record of calls", "admin:telemetry_requestlog_changelist")
    list_display = ("signed", "chain", "first", "last", "rows")
    fields = readonly_fields = ("chain", "signed", "first", "last", "rows", "line")


@admin.register(AuditVerification)
class VerificationAdmin(ReadOnlyAdmin):
    empty_says = "The record has not been verified yet. The server does it once a day; manage.py audit_verify does it at once."
    empty_link = ("For auditors", "docs")
    list_display = ("started_at", "by", "what", "reach", "rows", "found")
    search_fields = ("by", "scope")
    sortable_by = ()
    fields = readonly_fields = (
        *("started_at", "finished_at", "by", "what", "reach", "rows", "found"),
        "what_was_found",
    )

    @admin.display(description="Scope", ordering="scope")
    def what(self, row: AuditVerification) -> str:
        """Earlier releases wrote UTC as an offset."""
        return row.scope.replace("+00:00", " UTC")

    @admin.display(description="Whole", ordering="whole")
    def reach(self, row: AuditVerification) -> str:
        """In words: a sign for "no" would look like one for "failed"."""
        return "whole" if row.whole else "a part, or by other keys or copies"

    @admin.display(description="Findings")
    def what_was_found(self, row: AuditVerification) -> str:
        findings = row.findings if isinstance(row.findings, list) else [row.findings]
        return linked(findings, reverse("admin:telemetry_requestlog_changelist")) if findings else "none"


class NamesClient(admin.ModelAdmin):
    """A client is told by what it is called. It may have been deleted, so a name that nobody has is no mistake."""

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if "tool_id" in form.changed_data and (doubt := doubt_about(obj.tool_id)):
            messages.warning(request, doubt)


@admin.register(RetentionRule)
class RetentionRuleAdmin(NamesClient):
    empty_says = "No rule: every call is kept for good. Add a rule to remove calls when they are old enough."
    list_display = ("__str__", "tool_id", "outcome", "days")
    list_display_links = ("__str__",)
    search_fields = ("tool_id", "outcome")

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **more: Any) -> Any:
        """An outcome is chosen: one that no call ever has would remove nothing, without a word. What rules of before
        say stays a choice."""
        if db_field.name != "outcome":
            return super().formfield_for_dbfield(db_field, request, **more)
        known = [outcome for outcomes in CLASSES.values() for outcome in outcomes]
        said = RetentionRule.objects.exclude(outcome__in=["", *known]).values_list("outcome", flat=True)
        return forms.ChoiceField(
            required=False,
            choices=[("", "every one"), *((name, name) for name in (*known, *sorted(set(said))))],
            help_text="As the record shows it.",
        )


@admin.register(LegalHold)
class LegalHoldAdmin(NamesClient):
    empty_says = "Nothing is held. Add a hold to keep calls that a retention rule would remove, and kept content beyond its days."
    list_display = ("reason", "tool_id", "since", "until", "created_at", "released_at")
    search_fields = ("reason", "tool_id")

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Released, not deleted: that there was one stays visible."""
        return False

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **more: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **more)
        if field is not None and isinstance(db_field, DateTimeField):
            field.help_text = f"{field.help_text} In UTC."
        return field

    def get_exclude(self, request: HttpRequest, obj: object = None) -> tuple[str, ...]:
        """One that is released from the start would hold nothing."""
        return () if obj is not None else ("released_at",)

    def get_readonly_fields(self, request: HttpRequest, obj: object = None) -> tuple[str, ...]:
        """What it holds, and why, is not rewritten: to hold less is to release it and to add another."""
        return ("reason", "tool_id", "since", "until") if obj is not None else ()
