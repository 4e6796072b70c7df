"""The admin's own pages, beside those of its tables: the one list that routes and navigation derive from."""

from collections.abc import Callable
from typing import NamedTuple

from django.http import HttpRequest, HttpResponse

from gateway.console.audit_export import audit_export
from gateway.console.configuration import configuration, download, export
from gateway.console.content import content
from gateway.console.explain import explain
from gateway.console.plan import plan, start
from gateway.console.playground import playground, ticket
from gateway.console.sent_text import sent_text
from gateway.console.tables import tables
from gateway.edge.player import MAY_PLAY


class Page(NamedTuple):
    """`path` is below the admin's, `name` its URL name in the namespace `admin`.

    `permission`: what a staff member needs ("app.codename"); "" opens it to all staff. `label`: its place in
    the navigation; "" leaves it out.
    """

    path: str
    name: str
    label: str
    permission: str
    view: Callable[..., HttpResponse]

    def is_open_to(self, request: HttpRequest) -> bool:
        return not self.permission or request.user.has_perm(self.permission)  # type: ignore[union-attr]


_SEE, _CHANGE = "gateway.view_configversion", "gateway.add_configversion"
PAGES: tuple[Page, ...] = (
    Page("playground/", "playground", "Playground", MAY_PLAY, playground),
    Page("playground/ticket/", "playground_ticket", "", MAY_PLAY, ticket),
    Page("configuration/", "configuration", "Configuration", _SEE, configuration),
    Page("configuration/download/<str:name>/", "configuration_download", "", _SEE, download),
    Page("configuration/export/<str:name>/", "configuration_export", "", _CHANGE, export),
    Page("configuration/import/<str:name>/", "configuration_import", "", _CHANGE, start),
    Page("configuration/plan/<str:plan_id>/", "configuration_plan", "", _CHANGE, plan),
    Page("record/export/", "audit_export", "", "telemetry.export_requestlog", audit_export),
    Page("tables/", "tables", "All tables", "", tables),
    Page("telemetry/requestlog/sent-text/", "sent_text", "", "telemetry.find_text", sent_text),
    Page("telemetry/content/<uuid:call_id>/", "call_content", "", "telemetry.open_content", content),
    Page("clients/client/<int:pk>/explain/", "client_explain", "", "clients.view_client", explain),
)
