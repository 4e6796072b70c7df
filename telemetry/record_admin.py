"""The record in the admin: a list by keyset under a filter, its live tail, saved filters, and a page for each call."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from telemetry import captured_rows, odd_rows, saved_filters, tail
from telemetry.criteria import LAST_MOMENT, NOT_THE_FIRST, STATE, Place, class_of
from telemetry.filter_form import FilterForm
from telemetry.filter_hints import hints
from telemetry.models import RequestLog
from telemetry.read_only import ReadOnlyAdmin
from telemetry.search import LAST_ID, Found, find

SHOWN_LIVE = 200
FIRST_PLACE = Place(LAST_MOMENT, LAST_ID)
"""Ahead of all that can be read: what is put before it by text that is no moment is on the first page."""


class RequestLogAdmin(ReadOnlyAdmin):
    def get_urls(self) -> list[URLPattern]:
        own = [
            self._page("live/", self.live, "telemetry_requestlog_live"),
            self._page("filters/", self.filters, "telemetry_requestlog_filters"),
        ]
        return own + super().get_urls()

    def _page(self, route: str, view: Callable[..., HttpResponse], name: str) -> URLPattern:
        def guarded(request: HttpRequest) -> HttpResponse:
            if not self.has_view_or_change_permission(request):
                raise PermissionDenied
            return view(request)

        return path(route, self.admin_site.admin_view(guarded), name=name)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        if request.method not in ("GET", "HEAD"):
            return HttpResponseRedirect(request.get_full_path())
        form = FilterForm(request.GET)
        found = find(form.criteria(timezone.now()), form.place, older=form.older) if form.is_valid() else None
        for row in found.rows if found else ():
            row.state = STATE[class_of(row.outcome)]  # type: ignore[attr-defined]
        context = self.admin_site.each_context(request) | {
            "title": "Record of calls",
            "form": form,
            "found": found,
            "query": form.query(),
            "words": form.words() if form.is_valid() else "",
            "links": links(form, found) if found else {},
            "hints": hints(form.cleaned_data) if found and not found.rows and not form.place else [],
            "saved": saved_filters.seen_by(request.user),
            "save_form": saved_filters.SaveForm(request.user, initial={"query": form.query()}),
        }
        return render(request, "admin/telemetry/requestlog/change_list.html", context | (extra_context or {}))

    def live(self, request: HttpRequest) -> HttpResponse:
        """The page only; what it shows comes over `tail.PATH`."""
        form = FilterForm(request.GET)
        valid = form.is_valid()
        context = self.admin_site.each_context(request) | {
            "title": "Calls as they are stored",
            "form": form,
            "query": form.query() if valid else "",
            "words": form.words() if valid else "",
            "facts": {
                "tail": f"{tail.PATH}?{form.query()}",
                "record": reverse("admin:telemetry_requestlog_changelist"),
                "shown": SHOWN_LIVE,
                "states": STATE,
                "strategies": NOT_THE_FIRST,
            },
        }
        return render(request, "admin/telemetry/requestlog/live.html", context, status=200 if valid else 400)

    def filters(self, request: HttpRequest) -> HttpResponse:
        return saved_filters.page(request, self.admin_site.each_context(request))

    def get_object(self, request: HttpRequest, object_id: str, from_field: Any = None) -> RequestLog | None:
        """Also a row that has become unreadable: what can be read of it."""
        try:
            return odd_rows.one(RequestLog._meta.pk.to_python(object_id))
        except (ValidationError, OverflowError):
            return None

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        return super().change_view(request, object_id, form_url, {"title": "A call"} | (extra_context or {}))

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        *args: Any,
        obj: RequestLog | None = None,
        **more: Any,
    ) -> HttpResponse:
        assert obj is not None, "calls are not added here"
        context["kept"] = captured_rows.find(obj.call_id, timezone.now())
        return super().render_change_form(request, context, *args, obj=obj, **more)


def links(form: FilterForm, found: Found) -> dict[str, str]:
    """`newer`, `older`, `newest`, and `on`: the query strings of what lies beside this page, where there is something."""
    rows, start, told = found.rows, form.place, {}
    ahead, behind = ("older", "newer") if form.older else ("newer", "older")
    places = [place for row in rows if (place := _place(row))] or [start or FIRST_PLACE]
    ends = {"newer": places[0], "older": places[-1]} if rows else {"newer": start, "older": start}
    if start is not None:
        told = {"newest": _link(form, ""), behind: _link(form, behind, ends[behind])}
    if found.more:
        told[ahead] = _link(form, ahead, ends[ahead])
    elif found.looked_to is not None:
        told["on"] = _link(form, ahead, found.looked_to)
    return told


def _place(row: RequestLog) -> Place | None:
    """None for a row that somebody made unreadable: the page begins or ends beside it."""
    return None if row.unread else Place(row.started_at, row.call_id)


def _link(form: FilterForm, name: str, place: Place | None = None) -> str:
    at = f"{name}={quote(place.encode())}" if place else ""
    return "?" + "&".join(part for part in (form.query(), at) if part)
