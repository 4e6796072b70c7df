"""Django's settings, from the environment (`gateway/environment.py`)."""

import sqlite3
import sys
from pathlib import Path
from urllib.parse import urlsplit

import django

from gateway import database
from gateway.environment import SHIPPED, Environment, SettingsError

ENVIRONMENT = Environment()
ENVIRONMENT.require_readable()
STATE_DIR = ENVIRONMENT.folder("LLM_CALLER_STATE_DIR")
CONFIG_DIR = ENVIRONMENT.folder("LLM_CALLER_CONFIG_DIR")
HOST, PORT = ENVIRONMENT["LLM_CALLER_HOST"], ENVIRONMENT["LLM_CALLER_PORT"]
PUBLIC_URL = ENVIRONMENT["LLM_CALLER_PUBLIC_URL"]
TOKEN_PEPPERS = ENVIRONMENT.secret_list("LLM_CALLER_TOKEN_PEPPERS")
ENCRYPTION_KEYS = ENVIRONMENT.secret_list("LLM_CALLER_ENCRYPTION_KEYS")

SECRET_KEY = ENVIRONMENT.secret_list("DJANGO_SECRET_KEY")[0]
DEBUG = False
_public = urlsplit(PUBLIC_URL)
_bracketed = f"[{HOST}]" if ":" in HOST else HOST
ALLOWED_HOSTS = ENVIRONMENT["LLM_CALLER_ALLOWED_HOSTS"] or [
    "localhost",
    "127.0.0.1",
    "[::1]",
    _bracketed,
    *([_public.hostname] if _public.hostname else []),
]

INSTALLED_APPS = [
    "gateway.admin_config.GatewayAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "gateway",
    "providers",
    "clients",
    "telemetry",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "gateway.idle_sessions.IdleSessions",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
# One policy, two carriers: Django has its own from 6.0 on, django-csp brings it to 5.2.
CSP_DIRECTIVES = {
    "default-src": ["'self'"],
    "base-uri": ["'none'"],
    "form-action": ["'self'"],
    "frame-ancestors": ["'none'"],
    "img-src": ["'self'"],
    "object-src": ["'none'"],
}
if django.VERSION >= (6, 0):
    MIDDLEWARE.append("django.middleware.csp.ContentSecurityPolicyMiddleware")
    SECURE_CSP = CSP_DIRECTIVES
else:
    MIDDLEWARE.append("csp.middleware.CSPMiddleware")
    CONTENT_SECURITY_POLICY = {"DIRECTIVES": CSP_DIRECTIVES}

MIDDLEWARE.append("gateway.edge.pages.JsonRefusals")

ROOT_URLCONF = "gateway.urls"
ASGI_APPLICATION = "gateway.asgi.application"
CSRF_FAILURE_VIEW = "gateway.edge.pages.csrf_failure"
APPEND_SLASH = False
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [SHIPPED / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASES = {"default": database.configured(ENVIRONMENT["DATABASE_URL"], STATE_DIR)}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    try:
        # Django's checks ask the database, so that its folder has to be there before any command runs.
        STATE_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"LLM_CALLER_STATE_DIR cannot be made: {error.strerror}") from None
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": database.pragmas(sqlite3.sqlite_version_info),
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = False
FORMAT_MODULE_PATH = ["gateway.formats"]
USE_TZ = True
STATIC_URL = "/static/"
STATIC_ROOT = STATE_DIR / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
WHITENOISE_MAX_AGE = 3600

_https = _public.scheme == "https"
SECURE_SSL_REDIRECT = _https
# The pages only, and to where they are: a program that asks for a wrong path is told so, in JSON.
SECURE_REDIRECT_EXEMPT = [r"^(?!(?:admin|docs)(?:/|$)|static/|$)"]
SECURE_SSL_HOST = _public.netloc if _https else None
SECURE_HSTS_SECONDS = 31_536_000 if _https else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = _https
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _https
SESSION_ENGINE = "gateway.sessions"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 8 * 3600
SESSION_EXPIRE_AT_BROWSER_CLOSE = ENVIRONMENT["LLM_CALLER_SESSION_UNTIL_CLOSE"]
STAFF_TOTP = ENVIRONMENT["LLM_CALLER_STAFF_TOTP"]
CSRF_TRUSTED_ORIGINS = [f"{_public.scheme}://{_public.netloc}"] if PUBLIC_URL else []
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
DATA_UPLOAD_MAX_MEMORY_SIZE = ENVIRONMENT["LLM_CALLER_MAX_BODY_BYTES"]
# An uploaded registry may carry plaintext tokens: it stays in memory, where the server already has it.
FILE_UPLOAD_MAX_MEMORY_SIZE = DATA_UPLOAD_MAX_MEMORY_SIZE
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.MemoryFileUploadHandler"]

CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
# django-ratelimit counts what people try (`gateway/throttle.py`). In one process the local cache is shared and atomic enough for that;
# its checks want a networked cache, which one process does not need.
SILENCED_SYSTEM_CHECKS = ["django_ratelimit.E003", "django_ratelimit.W001"]
RATELIMIT_IP_META_KEY = "gateway.throttle.peer_of"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"json": {"class": "telemetry.logs.StandardHandler"}},
    "root": {"handlers": ["json"], "level": "WARNING"},
    "loggers": {
        "django": {"handlers": ["json"], "level": "WARNING", "propagate": False},
        # Every refused request would be a line of its own beside the one that the gateway writes.
        "django.request": {"handlers": ["json"], "level": "ERROR", "propagate": False},
        "django.security.DisallowedHost": {"handlers": [], "propagate": False},
    },
}
if Path(sys.argv[0]).name in ("manage.py", "llm-caller") and sys.argv[1:2] != ["serve"]:
    # Commands talk to people: their warnings go to stderr as plain text.
    LOGGING["handlers"] = {"json": {"class": "logging.StreamHandler"}}
