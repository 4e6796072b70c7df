"""The admin's own pages, beside those of its tables: the one list that routes and navigation derive from."""

from collections.abc import Callable
from typing import NamedTuple

from django.http import HttpRequest, HttpResponse

from gateway.console.explain import explain
from gateway.console.tables import tables


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


PAGES: tuple[Page, ...] = (
    Page("tables/", "tables", "All tables", "", tables),
    Page("clients/client/<int:pk>/explain/", "client_explain", "", "clients.view_client", explain),
)
