"""Django's own answers: JSON errors, the way to the admin, the guides and the metrics for staff."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import render
from django.urls import Resolver404, reverse
from django.utils.safestring import mark_safe

from gateway import live
from gateway.edge.front import PEER
from gateway.edge.respond import CALL_ID, encode_json, problem_headers
from gateway.edge.unidentified import Sent, note_refusal
from gateway.environment import SHIPPED
from gateway.errors import INTERNAL, Problem
from gateway.guides import GUIDES, image
from gateway.guides import render as render_guide
from gateway.runtime import new_call_id
from gateway.second_factor import may_enter
from gateway.throttle import GUIDES as GUIDES_READ


def problem_response(problem: Problem) -> HttpResponse:
    call_id = new_call_id()
    response = HttpResponse(
        encode_json(problem.body(call_id)), status=problem.status, content_type="application/json"
    )
    for name, value in problem_headers(problem, call_id):
        if name != b"content-type":
            response.headers[name.decode()] = value.decode()
    return response


def bad_request(request: HttpRequest, exception: Any = None) -> HttpResponse:
    return problem_response(Problem(code="BAD_REQUEST", message="The request cannot be understood"))


def forbidden(request: HttpRequest, exception: Any = None) -> HttpResponse:
    return problem_response(Problem(code="FORBIDDEN", message="You may not do this"))


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    message = "The form was not sent from this site, or is too old; go back, reload and try again"
    return problem_response(Problem(code="FORBIDDEN", message=message, reason="CSRF"))


def not_found(request: HttpRequest, exception: Any = None) -> HttpResponse:
    """A path that is no route's is noted; a page of staff about what is not there any more is not."""
    problem = Problem(code="NOT_FOUND", message="No such path")
    response = problem_response(problem)
    if isinstance(exception, Resolver404):
        call_id = response.headers[CALL_ID.decode()]
        scope = getattr(request, "scope", {})
        note_refusal(problem, call_id, scope.get(PEER, ""), Sent.of(scope))
    return response


def server_error(request: HttpRequest) -> HttpResponse:
    return problem_response(INTERNAL)


class JsonRefusals:
    """A method that a page does not take is refused as JSON too; Django's own answer has no body at all."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        if isinstance(response, HttpResponseNotAllowed):
            return method_not_allowed(response.headers["Allow"])
        return response


def method_not_allowed(allow: str) -> HttpResponse:
    headers = ((b"allow", allow.encode()),)
    return problem_response(Problem(code="METHOD_NOT_ALLOWED", message="Method not allowed", headers=headers))


def home(request: HttpRequest) -> HttpResponse:
    return read_only(request) or HttpResponseRedirect("/admin/")


def with_slash(request: HttpRequest) -> HttpResponse:
    """The way to a page for who left its slash out."""
    return read_only(request) or HttpResponseRedirect(request.get_full_path(force_append_slash=True))


def read_only(request: HttpRequest) -> HttpResponse | None:
    """The refusal of any method but GET and HEAD."""
    if request.method in ("GET", "HEAD"):
        return None
    return method_not_allowed("GET, HEAD")


def staff_metrics(request: HttpRequest) -> HttpResponse:
    """For staff who are logged in; clients with a token never get here."""
    if not may_enter(request):
        return problem_response(Problem(code="UNAUTHORIZED", message="Missing client token"))
    if refusal := read_only(request):
        return refusal
    text, kind = live.metrics(request.headers.get("Accept", ""))
    return HttpResponse(text, content_type=kind)


def unwelcome(request: HttpRequest) -> HttpResponse | None:
    """What somebody gets who may not read the guides now: the login, or the error."""
    if refusal := read_only(request):
        return refusal
    if not may_enter(request):
        return redirect_to_login(request.get_full_path(), reverse("admin:login"))
    return problem_response(GUIDES_READ.problem) if GUIDES_READ.count(request) else None


def guides(request: HttpRequest, name: str = "") -> HttpResponse:
    if refusal := unwelcome(request):
        return refusal
    html = render_guide(SHIPPED / "docs", name, reverse("docs"))
    if html is None:
        raise Http404
    context = admin.site.each_context(request) | {
        "title": GUIDES.get(name, "Guides"),
        "guides": GUIDES,
        "current": name,
        "html": mark_safe(html),  # noqa: S308 - our own files, rendered with HTML switched off
    }
    return render(request, "docs/guide.html", context)


def guide_image(request: HttpRequest, name: str) -> HttpResponse:
    """Not counted: one guide has dozens of pictures."""
    if refusal := read_only(request):
        return refusal
    if not may_enter(request):
        return redirect_to_login(request.get_full_path(), reverse("admin:login"))
    path = image(SHIPPED / "docs", name)
    if path is None:
        raise Http404
    return HttpResponse(
        path.read_bytes(), content_type="image/png", headers={"Cache-Control": "private, max-age=3600"}
    )
