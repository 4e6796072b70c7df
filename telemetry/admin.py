"""The record and its roll-ups in the admin: to look at. Their lists stay quick however many rows there are.

A list that counts all rows, or searches inside texts, reads the whole table. So these count up to
`COUNTED` only, look for whole values in columns that have an index, and offer filters from such columns.
"""

import uuid
from datetime import timedelta
from functools import cached_property
from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from telemetry.models import CallRollup, CapturedContent, ContentAccess, FailedAuthentication, RequestLog

COUNTED = 5_000
OUTCOMES = (
    *("ok", "BAD_REQUEST", "FORBIDDEN", "NOT_FOUND", "METHOD_NOT_ALLOWED", "RATE_LIMIT", "PERMANENT"),
    *("CONFIG", "INTERNAL_ERROR", "AUTH", "TEMPORARY", "OVERLOADED", "AUDIT_UNAVAILABLE"),
    *("DEADLINE_EXCEEDED", "CLIENT_CLOSED", "DRAINED", "UNKNOWN"),
)


class CappedPaginator(Paginator):
    """Its last page is that of row `COUNTED`; a filter leads to what lies behind."""

    @cached_property
    def count(self) -> int:
        rows: QuerySet[RequestLog] = self.object_list  # type: ignore[assignment]
        return rows.values("pk")[:COUNTED].count()


class ReadOnlyAdmin(admin.ModelAdmin):
    """Looked at, by nobody changed."""

    paginator = CappedPaginator
    # Each count beside a filter would be one of the whole table.
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    list_per_page = 50
    title = ""
    """Above the list; "" is Django's own."""

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        title = {"title": self.title} if self.title else {}
        return super().changelist_view(request, title | (extra_context or {}))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


class OutcomeFilter(admin.SimpleListFilter):
    """Asking the table which values it holds would read all of it."""

    title = "outcome"
    parameter_name = "outcome__exact"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [(outcome, outcome) for outcome in OUTCOMES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[RequestLog]) -> QuerySet[RequestLog]:
        return queryset.filter(outcome=self.value()) if self.value() else queryset


@admin.register(RequestLog)
class RequestLogAdmin(ReadOnlyAdmin):
    list_display = (
        "started_at",
        "tool_id",
        "method",
        "outcome",
        "status",
        "provider",
        "model",
        "duration_ms",
        "input_tokens",
        "output_tokens",
    )
    list_filter = (OutcomeFilter,)
    search_fields = ("call_id", "request_id", "tool_id", "provider")
    search_help_text = (
        "A call id, a request id, a client or a provider, the whole of it. "
        f"Lists hold the newest {COUNTED:,}; a search or a filter leads to older ones."
    )
    sortable_by = ()

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[RequestLog], search_term: str
    ) -> tuple[QuerySet[RequestLog], bool]:
        """The first column that has the term: one index each, where all at once would read the table."""
        term = search_term.strip()
        if not term:
            return queryset, False
        if call_id := _call_id(term):
            return queryset.filter(call_id=call_id), False
        found = [queryset.filter(**{column: term}) for column in ("request_id", "tool_id", "provider")]
        return next((rows for rows in found if rows.exists()), queryset.none()), False


def _call_id(term: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(term)
    except ValueError:
        return None


class SortFilter(admin.SimpleListFilter):
    """Period and dimension together, as the index begins."""

    title = "what is summed up"
    parameter_name = "sums"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [
            (f"{period}-{dimension}", f"{dimension}, by the {period}")
            for dimension, _ in CallRollup.DIMENSIONS
            for period, _ in CallRollup.PERIODS
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[CallRollup]) -> QuerySet[CallRollup]:
        period, _, dimension = (self.value() or "").partition("-")
        return queryset.filter(period=period, dimension=dimension) if dimension else queryset


@admin.register(CallRollup)
class CallRollupAdmin(ReadOnlyAdmin):
    list_display = (
        "start",
        "period",
        "dimension",
        "name",
        "calls",
        "errors",
        "input_tokens",
        "output_tokens",
    )
    list_filter = (SortFilter,)
    search_fields = ("name__exact",)
    search_help_text = "The whole name of a provider or client."
    # The table's one index, read backwards: within a period and dimension the newest first.
    ordering = ("-period", "-dimension", "-start", "-name")
    sortable_by = ()


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
    title = "Failed authentication"
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

    title = "Kept content"
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
    title = "Opened content"
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
