"""The record, its roll-ups and saved filters in the admin: which table is shown by what."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from telemetry.models import CallRollup, MethodUse, RequestLog, SavedFilter
from telemetry.read_only import ReadOnlyAdmin
from telemetry.record_admin import RequestLogAdmin

admin.site.register(RequestLog, RequestLogAdmin)


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
    empty_says = "Nothing is summed up yet, because no call has been recorded."
    empty_link = ("Record of calls", "admin:telemetry_requestlog_changelist")
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


@admin.register(MethodUse)
class MethodUseAdmin(ReadOnlyAdmin):
    """Small: a row a client and method."""

    empty_says = "No client has called a method yet that it may call."
    empty_link = ("Record of calls", "admin:telemetry_requestlog_changelist")
    list_display = ("tool_id", "method", "last_at")
    search_fields = ("tool_id__exact",)
    search_help_text = "The whole name of a client."
    ordering = ("tool_id", "method")


@admin.register(SavedFilter)
class SavedFilterAdmin(ReadOnlyAdmin):
    """To look at; they are kept on the page of the record. What is not shared is its owner's, also here."""

    empty_says = "No filter of the record has been saved, by you or for all."
    empty_link = ("Record of calls", "admin:telemetry_requestlog_changelist")

    list_display = ("name", "owner", "shared", "query")
    list_select_related = ("owner",)
    search_fields = ("name__exact", "owner__username__exact")
    search_help_text = "The whole name of a filter or of its owner."

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).filter(Q(owner=request.user) | Q(shared=True))
