"""Former home of the checks in this package's other modules, until all imports name those."""

from langchain_agentmem.arguments.durations import (
    required_seconds,
    seconds,
)
from langchain_agentmem.arguments.ids import (
    MAX_ADDRESS_BYTES as MAX_PLACE_BYTES,
)
from langchain_agentmem.arguments.ids import (
    MAX_CHECKPOINT_BYTES,
    MAX_ID_BYTES,
    MAX_LABEL_BYTES,
    TENANT_OF_NOTES,
    check_content,
    check_id,
    check_length,
    check_name,
    check_optional_id,
    check_tenant,
    check_text,
    check_together,
)
from langchain_agentmem.arguments.retention import (
    Retention,
    RetentionPolicy,
    check_retention,
)
from langchain_agentmem.arguments.runs import (
    context_of,
    user_named_by,
)
from langchain_agentmem.arguments.values import (
    LARGEST_COUNT,
    check_callable,
    check_count,
    check_flag,
    check_function,
    check_list,
    shown,
)

__all__ = [
    "LARGEST_COUNT",
    "MAX_CHECKPOINT_BYTES",
    "MAX_ID_BYTES",
    "MAX_LABEL_BYTES",
    "MAX_PLACE_BYTES",
    "TENANT_OF_NOTES",
    "Retention",
    "RetentionPolicy",
    "check_callable",
    "check_content",
    "check_count",
    "check_flag",
    "check_function",
    "check_id",
    "check_length",
    "check_list",
    "check_name",
    "check_optional_id",
    "check_retention",
    "check_tenant",
    "check_text",
    "check_together",
    "context_of",
    "required_seconds",
    "seconds",
    "shown",
    "user_named_by",
]
