"""What Django serves: the admin, the guides, and `/metrics` for staff. The rest is in `asgi.py`."""

from django.contrib import admin
from django.urls import path

from gateway.edge import pages

urlpatterns = [
    path("admin", pages.with_slash),
    path("admin/", admin.site.urls),
    path("docs", pages.with_slash),
    path("docs/", pages.guides, name="docs"),
    path("docs/<slug:name>", pages.guides, name="guide"),
    path("docs/images/<slug:name>.png", pages.guide_image),
    path("metrics", pages.staff_metrics),
    path("", pages.home),
]
handler400 = "gateway.edge.pages.bad_request"
handler403 = "gateway.edge.pages.forbidden"
handler404 = "gateway.edge.pages.not_found"
handler500 = "gateway.edge.pages.server_error"
