"""What a host may have set for its own API, none of which pulse's may go by."""

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.metadata import BaseMetadata
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.pagination import BasePagination
from rest_framework.parsers import BaseParser
from rest_framework.permissions import BasePermission
from rest_framework.renderers import BaseRenderer
from rest_framework.throttling import BaseThrottle
from rest_framework.versioning import BaseVersioning


class Nobody(BaseAuthentication):
    def authenticate(self, request):
        raise AuthenticationFailed("the host's own users only")


class Never(BasePermission):
    def has_permission(self, request, view):
        return False


class Full(BaseThrottle):
    def allow_request(self, request, view):
        return False

    def wait(self):
        return 3600.0


class Shouting(BaseRenderer):
    media_type = "text/shouting"
    format = "shouting"

    def render(self, data, accepted_media_type=None, renderer_context=None):
        return str(data).upper().encode()


class Deaf(BaseParser):
    media_type = "application/json"

    def parse(self, stream, media_type=None, parser_context=None):
        return {"nothing": True}


class Stubborn(BaseContentNegotiation):
    def select_parser(self, request, parsers):
        return None

    def select_renderer(self, request, renderers, format_suffix=None):
        return Shouting(), Shouting.media_type


class NoPages(BasePagination):
    def paginate_queryset(self, queryset, request, view=None):
        raise AssertionError

    def get_paginated_response(self, data):
        raise AssertionError


class NoVersion(BaseVersioning):
    def determine_version(self, request, *args, **kwargs):
        raise AssertionError


class NoMetadata(BaseMetadata):
    def determine_metadata(self, request, view):
        raise AssertionError


class NoFilter:
    def filter_queryset(self, request, queryset, view):
        raise AssertionError


class OwnSchema:
    def __get__(self, instance, owner):
        return self


def swallow(error, context):
    raise AssertionError from error


def nobody():
    raise AssertionError


def hook(**_given):
    raise AssertionError
