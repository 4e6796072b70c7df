from django.apps import AppConfig


class GatewayConfig(AppConfig):
    name = "gateway"
    verbose_name = "Gateway"

    def ready(self) -> None:
        from clients import import_rules as clients_rules
        from clients.kept_by_name import kept_by_name_from
        from clients.loader import tool_ids
        from clients.naming import clients_naming
        from clients.suggestions import model_warnings_from, provider_names_from
        from clients.turns import turns_by as clients_turns_by
        from gateway import changes, checks, idle_sessions, roles, versions  # noqa: F401 - importing registers the checks
        from gateway.environment import own_places
        from gateway.judge import refuse
        from gateway.rendering import CLIENTS, PROVIDERS
        from providers import import_rules as providers_rules
        from providers.dependents import clients_naming_from
        from providers.loader import provider_names
        from providers.secrets import close_places
        from providers.turns import turns_by as providers_turns_by
        from providers.unlisted import allowed_warnings
        from telemetry.holds import holds_naming, rules_naming
        from telemetry.known_clients import client_names_from

        close_places(own_places())
        versions.watch_ahead()
        changes.watch()
        versions.watch_after()
        roles.watch()
        idle_sessions.watch()
        clients_turns_by(versions.queue)
        providers_turns_by(versions.queue)
        provider_names_from(provider_names)
        model_warnings_from(allowed_warnings)
        clients_naming_from(clients_naming)
        kept_by_name_from(holds_naming, rules_naming)
        client_names_from(tool_ids)
        providers_rules.refuse_by(lambda form, document, places: refuse(form, PROVIDERS, document, places))
        clients_rules.refuse_by(lambda form, document, places: refuse(form, CLIENTS, document, places))
