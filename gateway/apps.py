from django.apps import AppConfig


class GatewayConfig(AppConfig):
    name = "gateway"
    verbose_name = "Gateway"

    def ready(self) -> None:
        from clients.suggestions import provider_names_from
        from gateway import changes, checks, idle_sessions, roles, versions  # noqa: F401 - importing registers the checks
        from gateway.environment import own_places
        from providers.loader import provider_names
        from providers.secrets import close_places

        close_places(own_places())
        versions.watch_ahead()
        changes.watch()
        versions.watch_after()
        roles.watch()
        idle_sessions.watch()
        provider_names_from(provider_names)
