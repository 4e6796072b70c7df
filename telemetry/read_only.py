"""What the admin shows of the record and what is derived from it: looked at, by nobody changed."""

from functools import cached_property
from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest

COUNTED = 5_000


class CappedPaginator(Paginator):
    """Its last page is that of row `COUNTED`; a filter leads to what lies behind."""

    @cached_property
    def count(self) -> int:
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]
        return rows.values("pk")[:COUNTED].count()


class ReadOnlyAdmin(admin.ModelAdmin):
    """A list that counts all rows, or searches inside texts, reads the whole table. So these count up to `COUNTED`
    only, look for whole values in columns that have an index, and offer filters from such columns."""

    paginator = CappedPaginator
    # Each count beside a filter would be one of the whole table.
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False
