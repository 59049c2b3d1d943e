"""A host whose settings for its own API are as unlike pulse's as they can be."""

from project.settings.test import *  # noqa: F403
from project.settings.test import INSTALLED_APPS

HERE = "tests.api.hostile"

INSTALLED_APPS = [*INSTALLED_APPS, "drf_spectacular"]
REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": [f"{HERE}.Shouting"],
    "DEFAULT_PARSER_CLASSES": [f"{HERE}.Deaf"],
    "DEFAULT_AUTHENTICATION_CLASSES": [f"{HERE}.Nobody"],
    "DEFAULT_PERMISSION_CLASSES": [f"{HERE}.Never"],
    "DEFAULT_THROTTLE_CLASSES": [f"{HERE}.Full"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": f"{HERE}.Stubborn",
    "DEFAULT_METADATA_CLASS": f"{HERE}.NoMetadata",
    "DEFAULT_VERSIONING_CLASS": f"{HERE}.NoVersion",
    "DEFAULT_PAGINATION_CLASS": f"{HERE}.NoPages",
    "DEFAULT_FILTER_BACKENDS": [f"{HERE}.NoFilter"],
    "DEFAULT_SCHEMA_CLASS": f"{HERE}.OwnSchema",
    "EXCEPTION_HANDLER": f"{HERE}.swallow",
    "UNAUTHENTICATED_USER": f"{HERE}.nobody",
    "UNAUTHENTICATED_TOKEN": f"{HERE}.nobody",
    "PAGE_SIZE": 1,
    "SEARCH_PARAM": "q",
    "ORDERING_PARAM": "sort",
    "VERSION_PARAM": "ident",
    "ALLOWED_VERSIONS": ["none"],
    "DEFAULT_VERSION": "0",
    "URL_FORMAT_OVERRIDE": "mode",
    "FORMAT_SUFFIX_KWARG": "ident",
    "NON_FIELD_ERRORS_KEY": "whole",
    "DATETIME_FORMAT": "%d.%m.%Y",
    "COMPACT_JSON": False,
    "UNICODE_JSON": False,
    "STRICT_JSON": False,
    "NUM_PROXIES": 3,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "The host",
    "OAS_VERSION": "3.0.3",
    "SCHEMA_PATH_PREFIX": "/host",
    "SCHEMA_PATH_PREFIX_TRIM": True,
    "SCHEMA_PATH_PREFIX_INSERT": "/inserted",
    "PREPROCESSING_HOOKS": [f"{HERE}.hook"],
    "POSTPROCESSING_HOOKS": [f"{HERE}.hook"],
    "APPEND_COMPONENTS": {"schemas": {"Host": {"type": "object"}}},
    "APPEND_PATHS": {"/host/": {}},
    "CAMELIZE_NAMES": True,
    "SERVERS": [{"url": "https://host.example.com"}],
    "SECURITY": [{"host": []}],
    "COMPONENT_SPLIT_REQUEST": True,
    "SERVE_PERMISSIONS": [f"{HERE}.Never"],
}
FILTERS_DEFAULT_LOOKUP_EXPR = "icontains"
# Every request is one transaction, and whoever is not logged in is led to the login.
DATABASES = {name: {**given, "ATOMIC_REQUESTS": True} for name, given in DATABASES.items()}  # noqa: F405
MIDDLEWARE = [
    *MIDDLEWARE,  # noqa: F405
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.middleware.gzip.GZipMiddleware",
]
LANGUAGE_CODE = "en-us"
USE_THOUSAND_SEPARATOR = True
