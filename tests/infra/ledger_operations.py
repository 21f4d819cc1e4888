"""The operations of DynamoDB that the shared ledger uses, read from the source of its only module with requests."""

import ast
import inspect

from forwarder.ledger.dynamodb import table


def ledger_operations() -> set[str]:
    """Return the operations as AWS names them, such as `GetItem`."""
    calls = [node for node in ast.walk(ast.parse(inspect.getsource(table))) if isinstance(node, ast.Call)]
    names = {
        call.args[0].value
        for call in calls
        if isinstance(call.func, ast.Attribute) and call.func.attr == "_request"
        and call.args and isinstance(call.args[0], ast.Constant)
    }  # fmt: skip
    return {"".join(word.title() for word in str(name).split("_")) for name in names}
