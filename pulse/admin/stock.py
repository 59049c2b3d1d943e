"""The admin classes of the host: django-unfold's where it is installed, else Django's own."""

from typing import TYPE_CHECKING, Any, Final

from django.apps import apps
from django.contrib import admin
from django.contrib.admin.widgets import (
    AdminIntegerFieldWidget,
    AdminTextareaWidget,
    AdminTextInputWidget,
)

IS_UNFOLD: Final = apps.is_installed("unfold")

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
    TabularInline = admin.TabularInline[Any, Any]
    IntegerInput = AdminIntegerFieldWidget
    TextInput = AdminTextInputWidget
    Textarea = AdminTextareaWidget
elif IS_UNFOLD:
    from unfold.admin import ModelAdmin, TabularInline
    from unfold.widgets import UnfoldAdminIntegerFieldWidget as IntegerInput
    from unfold.widgets import UnfoldAdminTextareaWidget as Textarea
    from unfold.widgets import UnfoldAdminTextInputWidget as TextInput
else:
    ModelAdmin, TabularInline = admin.ModelAdmin, admin.TabularInline
    TextInput, Textarea = AdminTextInputWidget, AdminTextareaWidget
    IntegerInput = AdminIntegerFieldWidget

__all__ = ["IS_UNFOLD", "IntegerInput", "ModelAdmin", "TabularInline", "TextInput", "Textarea"]
