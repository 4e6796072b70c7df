"""The DRF views: chat, embed, models, health.

`dispatch` runs on the event loop from end to end; DRF's own would leave it, or need an adapter that does.
The order is DRF's and the contract's: authentication, permission, then the body, then the pipeline.
"""

from typing import Any, ClassVar, cast

from django.http import HttpRequest, HttpResponse
from rest_framework.authentication import BaseAuthentication
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from clients.types import Caller
from gateway import pipeline
from gateway.edge import inventory, native
from gateway.edge.front import TRAIL
from gateway.edge.identify import identify
from gateway.edge.respond import encode_json, problem_body, retry_after
from gateway.errors import Problem, Refusal
from gateway.trail import Trail
from telemetry.health import report
from telemetry.journal import JournalError


def trail_of(request: Request) -> Trail:
    return cast(Trail, request._request.scope[TRAIL])


class TokenAuthentication(BaseAuthentication):
    def authenticate(self, request: Request) -> tuple[Caller, str]:
        trail = trail_of(request)
        caller = identify(trail, request._request.scope)
        return caller, caller.token_id

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class MethodPermission(BasePermission):
    def has_permission(self, request: Request, view: Any) -> bool:
        trail = trail_of(request)
        trail.method = view.granted_as
        pipeline.permit(request.user, view.granted_as, trail.peer)
        return True


class StrictJSONParser(BaseParser):
    media_type = "application/json"

    def parse(
        self, stream: Any, media_type: str | None = None, parser_context: Any = None
    ) -> native.Envelope:
        context = parser_context or {}
        raw: bytes = stream.read()
        return native.decode(trail_of(context["request"]), context["view"].body, raw)


class OneMediaType(BaseContentNegotiation):
    """JSON in, JSON out, whatever `Accept` says."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return parsers[0]


class GatewayView(APIView):
    """Base of the views. `granted_as`: the method of contract §1 that a client must be granted."""

    authentication_classes: ClassVar[Any] = (TokenAuthentication,)
    permission_classes: ClassVar[Any] = (MethodPermission,)
    parser_classes: ClassVar[Any] = (StrictJSONParser,)
    content_negotiation_class = OneMediaType
    granted_as: str
    body: type[native.Envelope]

    async def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:  # type: ignore[override]
        wrapped = self.initialize_request(request, *args, **kwargs)
        self.args, self.kwargs, self.request, self.headers = args, kwargs, wrapped, {}
        trail = trail_of(wrapped)
        problem: Problem | None = None
        try:
            self.perform_authentication(wrapped)
            self.check_permissions(wrapped)
            handler = getattr(self, wrapped.method.lower(), None) if wrapped.method in self.allowed else None
            if handler is None:
                raise self._not_allowed()
            content = encode_json(await handler(wrapped, trail))
        except Exception as error:  # the outermost edge of a call
            trail.note_answer()  # nothing of one is sent
            problem = trail.problem(error)
            content = problem_body(problem, trail.call_id)
        return await self._finish(trail, content, problem)

    @property
    def allowed(self) -> tuple[str, ...]:
        return ("POST",) if hasattr(self, "post") else ("GET", "HEAD")

    def _not_allowed(self) -> Refusal:
        allow = ", ".join(self.allowed).encode()
        return Refusal("METHOD_NOT_ALLOWED", "Method not allowed", headers=((b"Allow", allow),))

    async def _finish(self, trail: Trail, content: bytes, problem: Problem | None) -> HttpResponse:
        """Records the outcome before anything of the answer can be sent."""
        status = problem.status if problem else 200
        try:
            trail.close(status=status, bytes_out=len(content), problem=problem)
            await trail.recorded()
        except JournalError as error:
            problem = trail.problem(error)
            status, content = problem.status, problem_body(problem, trail.call_id)
        response = HttpResponse(content, status=status, content_type="application/json")
        _set_headers(response, trail, problem)
        return response


def _set_headers(response: HttpResponse, trail: Trail, problem: Problem | None) -> None:
    response.headers["X-LLM-Caller-Call-Id"] = trail.call_id
    if problem is None:
        hint = native.retry_hint(trail)
        if isinstance(hint, int):
            response.headers["Retry-After"] = retry_after(hint).decode()
        return
    for name, value in problem.headers:
        response.headers[name.decode()] = value.decode()
    if problem.retry_after_ms is not None:
        response.headers["Retry-After"] = retry_after(problem.retry_after_ms).decode()
    if problem.code == "UNAUTHORIZED":
        response.headers["WWW-Authenticate"] = "Bearer"


class ChatView(GatewayView):
    granted_as = "chat"
    body = native.ChatBody

    async def post(self, request: Request, trail: Trail) -> native.ChatAnswer:
        body: native.ChatBody = request.data
        reply = await pipeline.chat(trail, body, body.request())
        return native.chat_answer(trail, reply)


class EmbedView(GatewayView):
    granted_as = "embed"
    body = native.EmbedBody

    async def post(self, request: Request, trail: Trail) -> native.EmbedAnswer:
        body: native.EmbedBody = request.data
        reply = await pipeline.embed(trail, body, body.request())
        return native.embed_answer(trail, reply)


class ModelsView(GatewayView):
    granted_as = "models"

    async def get(self, request: Request, trail: Trail) -> dict[str, Any]:
        return inventory.models(trail, request.query_params.get("provider"))


class HealthView(GatewayView):
    granted_as = "getHealth"

    async def get(self, request: Request, trail: Trail) -> Any:
        return report(trail.gateway.observations.components)
