"""The spec of a sweep as a form: fields, their values as TOML, and errors."""

from dnlbench.tui.form.fields import FormField, FormSection
from dnlbench.tui.form.values import TOP, Form, FormResult, open_form

__all__ = ["TOP", "Form", "FormField", "FormResult", "FormSection", "open_form"]
