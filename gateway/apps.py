from django.apps import AppConfig


class GatewayConfig(AppConfig):
    name = "gateway"
    verbose_name = "Gateway"

    def ready(self) -> None:
        from gateway import changes, checks, idle_sessions, roles, versions  # noqa: F401 - importing registers the checks

        versions.watch()
        changes.watch()
        roles.watch()
        idle_sessions.watch()
