from django.contrib.admin.apps import AdminConfig


class GatewayAdminConfig(AdminConfig):
    """The admin app with our site; apart from the site, which may not be imported before the apps are."""

    default_site = "gateway.admin_site.GatewayAdminSite"
