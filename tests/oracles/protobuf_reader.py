"""Google's protobuf as a second reader: descriptors of Caffe's messages, made from the schema's rows."""

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from caffe_port.schema import ENUMS, MESSAGES, string

_SKIPPED = {"FreiburgLayerParameter"}  # a dialect: V1LayerParameter under other numbers


def _add_fields(message: Any, name: str) -> None:
    kinds = descriptor_pb2.FieldDescriptorProto
    taken = {field.number for field in MESSAGES[name].values()}
    spare = iter(number for number in range(5000, 6000) if number not in taken)
    for field_name, field in MESSAGES[name].items():
        row = message.field.add(name=field_name, number=field.number or next(spare))
        row.label = kinds.LABEL_REPEATED if field.repeated else kinds.LABEL_OPTIONAL
        if field.required:
            row.label = kinds.LABEL_REQUIRED
        if field.packed:
            row.options.packed = True
        if field.kind.startswith("message:"):
            row.type, row.type_name = kinds.TYPE_MESSAGE, ".caffe." + field.kind.removeprefix("message:")
        elif field.kind.startswith("enum:"):
            enum = field.kind.removeprefix("enum:")
            row.type, row.type_name = kinds.TYPE_ENUM, f".caffe.{enum}Type.{enum}"
        else:
            row.type = getattr(kinds, f"TYPE_{field.kind.upper()}")


@cache
def message_class(name: str) -> Any:
    """Class of a Caffe message."""
    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    for enum, values in ENUMS.items():  # each in a message of its own: value names must not meet
        holder = file.message_type.add(name=f"{enum}Type").enum_type.add(name=enum)
        for value, number in values.items():
            holder.value.add(name=value, number=number)
    for message in MESSAGES.keys() - _SKIPPED:
        _add_fields(file.message_type.add(name=message), message)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"caffe.{name}"))


def as_dict(message: Any) -> dict[str, Any]:
    """A protobuf message in the form of `schema.py`."""
    result: dict[str, Any] = {}
    for field, value in message.ListFields():
        items = list(value) if field.is_repeated else [value]
        if field.message_type is not None:
            items = [as_dict(item) for item in items]
        elif field.enum_type is not None:
            items = [field.enum_type.values_by_number[item].name for item in items]
        elif field.type == field.TYPE_STRING:
            items = [string(item) if isinstance(item, bytes) else item for item in items]
        result[field.name] = items if field.is_repeated else items[0]
    return result
