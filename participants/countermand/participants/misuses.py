"""What an author can't do with a traced value, and what to do instead.

Each use of Python's that needs data is a special method; here is what each of them answers.
"""

import re
from typing import Any, Final

from countermand.participants.regions import Handle
from countermand.schemas.contract import is_command
from countermand.schemas.models import is_models_complaint, model_complaint

_DECIDE = (
    "the function runs once, before any saga does, so there is nothing to decide on yet; write `with when(…):`, and "
    "put conditions together by all_of(…), any_of(…) and none_of(…) instead of and, or, not and 1 < x < 5; write "
    "contains(…) instead of in"
)
_CLASS = (
    "the function runs once, before any saga does, so there is no data to look at yet; write `with when(…):` with a "
    "comparison, or let a participant decide"
)
_COMPUTE = "a document can only + - * and /; let the participant do it, or put the figure into the saga's input"
_TEXT = "put texts together with +, or give the value a field of its own and let the participant write the text"
_MANY = (
    "how many entries there are is known only when a saga runs; write `with for_each(…) as each:`, contains(…) for "
    "`in`, size(…) for len(), or take one entry: [0]"
)
_KEY = "its value is known only when a saga runs, so it can't be a key or stand in a set"
_NUMBER = "its value is known only when a saga runs; pass it on as it is"
_CHANGE = "the data of a saga can't be changed; pass what is needed in fields of the command"
_CALL = "methods can't run while a saga is written down; let the participant do it"
_ASYNC = "step() doesn't wait: the function only writes down what will run; drop the await or async"
_KEEP = "it is a place in a saga's data, not the data; have it in a participant, where it is there"

# A dataclass' or a Struct's own check, run by Python when one is made with a traced value inside.
IN_POST_INIT: Final = (
    "__post_init__ runs when the saga is written down, and there is no data yet; of a command's own class it is put "
    "off until there is, but of what stands inside or is returned it isn't: have the check in the command's class, in "
    "the handler, or in a pydantic validator"
)

MISUSES: Final[dict[str, tuple[str, str]]] = {
    "as a condition": ("bool and rand or ror xor rxor invert", _DECIDE),
    "in isinstance or match": ("class", _CLASS),
    "in arithmetic": (
        "matmul rmatmul floordiv rfloordiv mod rmod divmod rdivmod pow rpow lshift rlshift rshift rrshift pos abs "  # noqa: ISC004
        "round trunc floor ceil",
        _COMPUTE,
    ),
    "as text": ("str format bytes fspath", _TEXT),
    "in a loop or unpacking": ("iter next reversed len length_hint contains", _MANY),
    "as a key or set member": ("hash", _KEY),
    "as a number": ("int float complex index", _NUMBER),
    "in an assignment": ("setattr delattr setitem delitem", _CHANGE),
    "as a function": ("call", _CALL),
    "in await or with": ("await aiter anext enter exit aenter aexit", _ASYNC),
    "in a pickle": ("reduce reduce_ex getstate", _KEEP),
}

# A call that Python refuses whatever its arguments are: too few, too many, misspelt.
_WRONG_CALL = re.compile("(?i)missing .*required|unexpected keyword|positional argument|multiple values")

LOOKED_AT: Final = (
    "what a saga function holds are places in the saga's data, not the data, so no function of Python's can work on "
    "them: pass them on as they are and let the participant do it"
)


def explained(error: Exception) -> str:
    """What Python complains of while a saga is written down, with what a newcomer may have meant."""
    told = str(error).replace("'Traced'", "a traced value").replace("Traced", "a traced value")
    owner: Any = getattr(error, "obj", None)
    if isinstance(error, AttributeError):
        if is_command(type(owner)):
            name = type(owner).__name__
            return f"{told}; if its result is meant, write step({name}(…)).{error.name}"
        # `isinstance` is what some stand-ins refuse.
        if issubclass(type(owner), Handle):
            return f"what the `with` gives has no field {error.name!r}; write {owner.parts} behind it"
        return told
    if is_models_complaint(error):
        return f"{model_complaint(error)}; a model that is to hold values of the saga is made by its class: Model(…)"
    if _WRONG_CALL.search(told):
        return told
    if "'Saga' object" in told:
        return (
            f"{told}: write child(…) to have it run as a saga of its own, or put what two share into a plain function"
        )
    return f"{told}; {LOOKED_AT}"
