"""Who calls, as the request path sees it. Frozen; built by the loader."""

from ipaddress import IPv4Network, IPv6Network

import msgspec

METHODS: tuple[str, ...] = ("chat", "chatStream", "embed", "getHealth", "models")
CAPTURES: tuple[str, ...] = ("off", "failures", "all")
"""Of which of a client's calls the content is kept."""
CAPTURE_DAYS, MOST_CAPTURE_DAYS = 30, 365


class RateLimit(msgspec.Struct, frozen=True, kw_only=True):
    """At most `max_requests` in any `interval_ms`."""

    max_requests: int
    interval_ms: int


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """`allowed_*` None: any. `rate_limit` None: the default of the environment. `capture`: one of `CAPTURES`."""

    tool_id: str
    enabled: bool
    methods: frozenset[str]
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    allowed_providers: frozenset[str] | None = None
    allowed_models: frozenset[str] | None = None
    rate_limit: RateLimit | None = None
    max_concurrency: int | None = None
    capture: str = "off"
    capture_days: int = CAPTURE_DAYS


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """`digest`: hex HMAC-SHA256 under the pepper `key_id`. Times are seconds since the epoch."""

    token_id: str
    key_id: str
    digest: str
    expires_at: float | None = None
    revoked: bool = False


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """An identified client together with the token it showed. `token_hash`: 16 hex digits for logs."""

    client: Client
    token_id: str
    token_hash: str
