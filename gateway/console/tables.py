"""Every table that the visitor may see: what the sections of the navigation leave out."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def tables(request: HttpRequest) -> HttpResponse:
    context = admin.site.each_context(request) | {
        "title": "All tables",
        "app_list": admin.site.get_app_list(request),
    }
    return render(request, "admin/console/tables.html", context)
