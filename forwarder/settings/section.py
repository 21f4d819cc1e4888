"""The base of the sections of the settings file, and the types of settings in several of them."""

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo, field_validator

from forwarder.settings.duration import Duration
from forwarder.settings.validators import common

FREE_TEXT_FIELDS = ("detail_type", "redact", "redact_except")
"""Fields that may hold any text. Others reject quotation marks, placeholders and control characters."""

Interval = Annotated[Duration, AfterValidator(common.at_least(timedelta(milliseconds=1)))]
Address = Annotated[str, AfterValidator(common.address)]
OptionalAddress = Annotated[str, AfterValidator(common.optional_address)]


class Section(BaseModel):
    """A section of the settings file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _reject_wrapped(cls, value: object, info: ValidationInfo) -> object:
        return (
            value
            if info.field_name in FREE_TEXT_FIELDS
            else common.reject_wrapped(common.reject_control_characters(value))
        )
