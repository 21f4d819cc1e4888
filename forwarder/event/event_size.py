"""How large EventBridge counts an event. Source: "Calculating Amazon EventBridge PutEvents event entry size"."""

TIME_BYTES = 14


def entry_bytes(source: str, detail_type: str, detail: bytes) -> int:
    """An entry with a time and without resources: 14 + the UTF-8 bytes of source, detail type and detail."""
    return TIME_BYTES + len(source.encode()) + len(detail_type.encode()) + len(detail)


def max_detail_bytes(source: str, detail_type: str, max_entry_bytes: int) -> int:
    """Bytes left for the detail."""
    return max_entry_bytes - entry_bytes(source, detail_type, b"")
