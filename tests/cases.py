"Which cases of a test `make test` runs, and which are left to `make test-long`."

import pytest


def long_but(quick, cases):
    """Cases for `parametrize`, of which all but the quick ones are marked long.

    A case of several arguments is a tuple.
    """
    return [
        pytest.param(
            *(case if isinstance(case, tuple) else (case,)),
            marks=[] if case in quick else pytest.mark.long,
        )
        for case in cases
    ]
