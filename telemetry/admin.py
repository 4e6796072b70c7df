from django.contrib import admin
from django.http import HttpRequest

from telemetry.models import CallRollup, RequestLog


class ReadOnlyAdmin(admin.ModelAdmin):
    """The record is looked at, by nobody changed."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


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
    list_filter = ("method", "outcome", "strategy")
    search_fields = ("=call_id", "request_id", "trace_id", "tool_id", "provider")
    show_full_result_count = False
    list_per_page = 50


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
    list_filter = ("period", "dimension")
    search_fields = ("name",)
    ordering = ("-start", "dimension", "name")
    show_full_result_count = False
