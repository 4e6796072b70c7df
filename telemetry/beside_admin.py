"""What is kept beside calls, in the admin: failed authentication, kept content and who opened it."""

import uuid
from datetime import timedelta

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from telemetry.models import CapturedContent, ContentAccess, FailedAuthentication
from telemetry.read_only import ReadOnlyAdmin


def _call_id(term: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(term)
    except ValueError:
        return None


class PeriodFilter(admin.SimpleListFilter):
    """By the index on the time."""

    title = "when"
    parameter_name = "past"
    PERIODS = {
        "1h": ("past hour", timedelta(hours=1)),
        "1d": ("past day", timedelta(days=1)),
        "7d": ("past 7 days", timedelta(days=7)),
        "30d": ("past 30 days", timedelta(days=30)),
    }

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [(name, words) for name, (words, _) in self.PERIODS.items()]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[FailedAuthentication]
    ) -> QuerySet[FailedAuthentication]:
        chosen = self.PERIODS.get(self.value() or "")
        return queryset.filter(started_at__gte=timezone.now() - chosen[1]) if chosen else queryset


@admin.register(FailedAuthentication)
class FailedAuthenticationAdmin(ReadOnlyAdmin):
    empty_says = "Every call so far showed a good token."
    empty_link = ("Record of calls", "admin:telemetry_requestlog_changelist")
    list_display = ("started_at", "address", "kind", "route", "count", "first_seen", "last_seen")
    list_filter = (PeriodFilter, "kind")
    fields = readonly_fields = list_display
    search_fields = ("address",)
    search_help_text = "An address, the whole of it."
    sortable_by = ()

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[FailedAuthentication], search_term: str
    ) -> tuple[QuerySet[FailedAuthentication], bool]:
        term = search_term.strip()
        return (queryset.filter(address=term) if term else queryset), False


@admin.register(CapturedContent)
class CapturedContentAdmin(ReadOnlyAdmin):
    """Which calls have content. The content itself is opened on a page of its own, and for a reason."""

    empty_says = "No content is kept. A client's setting says of which calls it is."
    empty_link = ("For auditors", "docs")
    list_display = ("stored_at", "tool_id", "call_id", "expires_at", "size", "key_id")
    fields = readonly_fields = list_display
    search_fields = ("call_id", "tool_id")
    search_help_text = "A call id or a client, the whole of it."
    sortable_by = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[CapturedContent]:
        return super().get_queryset(request).defer("ciphertext")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[CapturedContent], search_term: str
    ) -> tuple[QuerySet[CapturedContent], bool]:
        term = search_term.strip()
        if call_id := _call_id(term):
            return queryset.filter(call_id=call_id), False
        return (queryset.filter(tool_id=term) if term else queryset), False


@admin.register(ContentAccess)
class ContentAccessAdmin(ReadOnlyAdmin):
    empty_says = "Nobody has opened the content of a call."
    empty_link = ("Kept content", "admin:telemetry_capturedcontent_changelist")
    list_display = ("created_at", "who", "call_id", "reason")
    fields = readonly_fields = list_display
    search_fields = ("call_id", "who")
    search_help_text = "A call id or a name, the whole of it."
    sortable_by = ()

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[ContentAccess], search_term: str
    ) -> tuple[QuerySet[ContentAccess], bool]:
        term = search_term.strip()
        if call_id := _call_id(term):
            return queryset.filter(call_id=call_id), False
        return (queryset.filter(who=term) if term else queryset), False
