"""What the lists tell of tokens and limits; for clients it is asked of the database in the one query of the page."""

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import Aggregate, Count, Exists, IntegerField, Max, Min, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html

from clients.expiry import WARN_BEFORE, left, state_of
from clients.models import Client, ClientToken


def with_tokens(clients: QuerySet[Client]) -> QuerySet[Client]:
    """Adds `active_tokens`, `all_tokens`, `first_end` (of the active ones) and `last_used`."""
    usable = _usable(timezone.now())
    return clients.annotate(
        active_tokens=Coalesce(_of_tokens(usable, Count("pk")), 0, output_field=IntegerField()),
        all_tokens=Coalesce(_of_tokens(Q(), Count("pk")), 0, output_field=IntegerField()),
        first_end=_of_tokens(usable, Min("expires_at")),
        last_used=_of_tokens(Q(), Max("last_used_at")),
    )


def _usable(now: datetime) -> Q:
    return Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=now))


def _of_tokens(condition: Q, figure: Aggregate) -> Subquery:
    """Sub-queries rather than joins: the filters of the list join too, and would multiply the counts."""
    rows = ClientToken.objects.filter(condition, client=OuterRef("pk")).order_by().values("client")
    return Subquery(rows.annotate(figure=figure).values("figure"))


def tokens_in_words(client: Any) -> str:
    """Of a client of `with_tokens`, with a state's sign."""
    if not client.active_tokens:
        words = "none active" if client.all_tokens else "none"
        return format_html('<span class="state failed">{}</span>', words)
    if client.first_end is not None and client.first_end - timezone.now() <= WARN_BEFORE:
        words = f"{client.active_tokens} active, first ends in {left(client.first_end - timezone.now())}"
        return format_html('<span class="state degraded">{}</span>', words)
    return format_html('<span class="state ok">{} active</span>', client.active_tokens)


def state_in_words(token: ClientToken) -> str:
    state = state_of(token.expires_at, token.revoked_at, timezone.now())
    return format_html('<span class="state {}">{}</span>', state.level, state.words)


def limits_in_words(client: Client) -> str:
    said = [f"{client.max_requests:,} per {client.interval_ms:,} ms"] if client.max_requests else ["default"]
    said += [f"{client.max_concurrency:,} at once"] if client.max_concurrency else []
    return ", ".join(said)


class TokensFilter(admin.SimpleListFilter):
    title = "tokens"
    parameter_name = "tokens"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("none", "no active token"), ("soon", f"expires within {WARN_BEFORE.days} days")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Client]) -> QuerySet[Client]:
        now = timezone.now()
        active = ClientToken.objects.filter(_usable(now), client=OuterRef("pk"))
        if self.value() == "none":
            return queryset.filter(~Exists(active))
        if self.value() == "soon":
            return queryset.filter(Exists(active.filter(expires_at__lte=now + WARN_BEFORE)))
        return queryset
