"""Every metric of `/metrics`, once: name, kind, labels, what it tells, and how several processes are one.

`docs/metrics.md` is generated from here; the text for Prometheus is written from here.
"""

from typing import Literal, NamedTuple

BUCKETS_MS = (
    *(5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 20_000, 30_000, 60_000, 120_000, 300_000),
    600_000,
)
"""Upper bounds, themselves included: from a refusal that asks nobody to the default total deadline."""
OTHER = "other"
OK = "ok"
MODEL_METHODS = ("chat", "chatStream", "embed")
"""Of calls that ask a model; the others ask the gateway about itself, scrapes among them."""
METHODS = (*MODEL_METHODS, "models", "getHealth")
OUTCOME_CLASSES = (OK, "client_error", "limited", "provider_error", "client_closed", "gateway_error")
BROKEN_OFF = ("provider_error", "client_closed", "gateway_error")
"""Classes of streams that had begun, beside `OK`."""


class Family(NamedTuple):
    """`merge`: how the values of several processes become one; `shared` is the same for all and measured by
    whoever is asked. `born`: values of all labels that are there from the start, as 0, so that the first of a kind is
    seen as an increase; of an enabled provider, those of the label behind it are `born_by_provider`."""

    name: str
    kind: Literal["counter", "gauge", "histogram", "info"]
    labels: tuple[str, ...]
    help: str
    merge: Literal["sum", "max", "min", "shared"] = "sum"
    born: tuple[tuple[str, ...], ...] = ()
    born_by_provider: tuple[str, ...] = ()

    @property
    def sample(self) -> str:
        """As queries name it."""
        ending = {"counter": "_total", "info": "_info"}.get(self.kind, "")
        return f"llm_caller_{self.name}{ending}"


CALLS = Family(
    "calls",
    "counter",
    ("method", "outcome"),
    "Calls by method and outcome: ok, an error code of the contract, CLIENT_CLOSED or DRAINED.",
    born=tuple((method, "INTERNAL_ERROR") for method in METHODS),
)
RETRIES = Family("retries", "counter", ("method",), "Provider calls beyond a call's first.")
DURATION = Family(
    "call_duration_seconds",
    "histogram",
    ("method", "outcome_class"),
    "From accept to the last byte.",
    born=tuple((method, name) for method in MODEL_METHODS for name in OUTCOME_CLASSES),
)
FIRST_TOKEN = Family(
    "time_to_first_token_seconds",
    "histogram",
    ("method", "outcome_class"),
    "Of streams: from accept to the provider's first event.",
    born=tuple(("chatStream", name) for name in (OK, *BROKEN_OFF)),
)
PROVIDER_CALLS = Family(
    "provider_calls",
    "counter",
    ("provider", "result"),
    "Calls by the provider last asked: result is success, error, or cancelled by the client or a stop.",
)
ATTEMPTS = Family(
    "attempts",
    "counter",
    ("provider", "error_class"),
    "Requests to providers: error_class is none, an error class, or CANCELLED.",
    born_by_provider=(
        *("none", "TEMPORARY", "RATE_LIMIT", "DEADLINE_EXCEEDED", "AUTH", "PERMANENT", "CONFIG"),
        *("INTERNAL_ERROR", "CANCELLED"),
    ),
)
TOKENS = Family(
    "tokens",
    "counter",
    ("provider", "model", "direction"),
    "Tokens as providers count them, input and output. A model that its provider is not known to have, and all past 200, are 'other'.",
)
LIMITED = Family(
    "limit_refusals",
    "counter",
    ("limit",),
    "Calls refused by a limit of their client.",
    born=(("rate",), ("too_many_at_once",)),
)
AUTHENTICATION = Family(
    "authentication_failures",
    "counter",
    ("reason",),
    "Requests of nobody known: with an unknown token, with none, or from an address outside the allowed networks.",
    born=(("unknown_token",), ("missing_token",), ("address_not_allowed",)),
)
AUDIT = Family(
    "audit_failures",
    "counter",
    ("kind",),
    "What could not be recorded: journal_append is a line that could not be written, whose call was refused; journal_sync a time that the journal could not be brought to the disk.",
    born=(("journal_append",), ("journal_sync",)),
)
LOG_DROPPED = Family("log_lines_dropped", "counter", (), "Log lines lost because the queue was full.")
LOG_WRITES = Family(
    "log_write_failures",
    "counter",
    ("target",),
    "Batches of log lines that could not be written there.",
    born=(("file",), ("stdout",)),
)
LOG_NOTICES = Family(
    "log_notices",
    "counter",
    ("reason",),
    "Warnings about the log file: large (past 5 MiB) and ceiling (all rotated files in use).",
    born=(("large",), ("ceiling",)),
)
EVENTS = Family("events", "counter", ("event",), "Other things counted.")
IN_FLIGHT = Family("calls_in_flight", "gauge", (), "Calls being served now.")
CONFIG_VERSION = Family(
    "config_version",
    "gauge",
    (),
    "Version of the configuration in use; of several processes the oldest.",
    "min",
)
PROVIDER_UP = Family(
    "provider_up",
    "gauge",
    ("provider",),
    "Last probe of an enabled provider: 1 well, 0.5 degraded, 0 failed.",
    "min",
)
STARTED = Family(
    "start_time_seconds", "gauge", (), "When the oldest process that runs was started, since 1970.", "min"
)
PROCESSES = Family(
    "processes", "gauge", (), "Server processes that share this state folder and run.", "shared"
)
BACKLOG = Family(
    "journal_backlog_bytes", "gauge", (), "Written to the journal and not yet in the database.", "shared"
)
OLDEST = Family(
    "journal_oldest_age_seconds",
    "gauge",
    (),
    "Age of the oldest line of the journal that is not yet in the database; 0 without one.",
    "shared",
)
LAG = Family(
    "writer_lag_seconds",
    "gauge",
    (),
    "Since the journal's writer last stored something or found nothing to store; before it ever has, since the start.",
    "shared",
)
SET_ASIDE = Family(
    "journal_set_aside_records",
    "gauge",
    (),
    "Records that no column took and lines of the journal that were damaged, in set-aside.jsonl beside it.",
    "shared",
)
VERIFIED = Family(
    "audit_verified_timestamp_seconds",
    "gauge",
    (),
    "When the whole record was last verified, since 1970; absent before it first was.",
    "shared",
)
FINDINGS = Family(
    "audit_findings", "gauge", (), "What that verification found: changed, removed or forged rows.", "shared"
)
LOG_BYTES = Family("log_file_bytes", "gauge", (), "Size of the log file that is written to.", "shared")
LOG_ROTATED = Family("log_rotated_files", "gauge", (), "Rotated log files there are.", "shared")
LOG_CEILING = Family(
    "log_rotated_files_limit",
    "gauge",
    (),
    "Rotated log files that are kept (LLM_CALLER_LOG_MAX_FILES).",
    "shared",
)
BUILD = Family("build", "info", ("version", "python", "django"), "What runs.", "shared")

FAMILIES: tuple[Family, ...] = (
    *(
        CALLS,
        RETRIES,
        DURATION,
        FIRST_TOKEN,
        PROVIDER_CALLS,
        ATTEMPTS,
        TOKENS,
        LIMITED,
        AUTHENTICATION,
        AUDIT,
    ),
    *(LOG_DROPPED, LOG_WRITES, LOG_NOTICES, EVENTS),
    *(IN_FLIGHT, CONFIG_VERSION, PROVIDER_UP, STARTED, PROCESSES, BACKLOG, OLDEST, LAG, SET_ASIDE),
    *(VERIFIED, FINDINGS),
    *(LOG_BYTES, LOG_ROTATED, LOG_CEILING, BUILD),
)
DERIVED: dict[str, tuple[Family, tuple[str, ...]]] = {
    "token_failures": (AUTHENTICATION, ("unknown_token",)),
    "refused_unauthorized": (AUTHENTICATION, ("missing_token",)),
    "refused_outside": (AUTHENTICATION, ("address_not_allowed",)),
    "journal_failures": (AUDIT, ("journal_append",)),
    "journal_sync_failures": (AUDIT, ("journal_sync",)),
    "log_lines_dropped": (LOG_DROPPED, ()),
    "log_file_failures": (LOG_WRITES, ("file",)),
    "log_stdout_failures": (LOG_WRITES, ("stdout",)),
    "log_file_large": (LOG_NOTICES, ("large",)),
    "log_file_ceiling": (LOG_NOTICES, ("ceiling",)),
}
"""Events that are metrics of their own: what is counted by `Metrics.count` under this name."""

_CLIENT = frozenset(
    {"BAD_REQUEST", "UNAUTHORIZED", "FORBIDDEN", "NOT_FOUND", "METHOD_NOT_ALLOWED", "REQUEST_TIMEOUT"}
    | {"BODY_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE"}
)
_PROVIDER = frozenset({"PERMANENT", "AUTH", "TEMPORARY", "RATE_LIMIT", "DEADLINE_EXCEEDED"})
_CLASSES = {
    OK: OK,
    "CLIENT_CLOSED": "client_closed",
    **dict.fromkeys(_CLIENT, "client_error"),
    **dict.fromkeys(_PROVIDER, "provider_error"),
}


def outcome_class(outcome: str, *, asked: bool) -> str:
    """ok, client_error, limited, provider_error, client_closed, or gateway_error for all else: whom to look at.

    `asked`: a provider was. A rate limit without that is the client's own.
    """
    if outcome == "RATE_LIMIT" and not asked:
        return "limited"
    return _CLASSES.get(outcome, "gateway_error")


def render_docs() -> str:
    """The text of `docs/metrics.md`."""
    lines = [
        "# Metrics",
        "",
        "Generated from `telemetry/families.py` by `manage.py write_docs`; do not edit. How to scrape them, rules and a",
        "dashboard: [Monitoring](monitoring.md).",
        "",
        "| metric | kind | labels | what it tells |",
        "|---|---|---|---|",
    ]
    for family in FAMILIES:
        labels = ", ".join(f"`{label}`" for label in family.labels) or "–"
        lines.append(f"| `{family.sample}` | {family.kind} | {labels} | {family.help} |")
    seconds = ", ".join(f"{bound / 1000:g}" for bound in BUCKETS_MS)
    lines += [
        "",
        f"Histograms have buckets up to {seconds} seconds, and `_bucket`, `_sum` and `_count`.",
        "",
        "`outcome_class` is `ok`; `client_error` (the request was at fault); `limited` (a limit of the client);",
        "`provider_error`; `client_closed` (the client left first); `gateway_error` (configuration, overload, drain, a",
        "defect).",
        "",
        "Names of providers and models are labels up to a thousand and two hundred; what comes later counts as `other`, and so does a model that is neither configured for its provider nor found there.",
    ]
    return "\n".join(lines) + "\n"
