"""A sweep's spec as a form: its fields, what their values mean as TOML, and what is wrong with them."""

from dnlbench.tui.form.fields import FormField, FormSection
from dnlbench.tui.form.values import TOP, Form, FormResult, open_form

__all__ = ["TOP", "Form", "FormField", "FormResult", "FormSection", "open_form"]
