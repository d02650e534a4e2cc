"""Has Python believe that the machine knows its user by another name: a test cannot be several users."""

import os
import pwd
from types import SimpleNamespace

if "TEST_LOGIN" in os.environ:
    pwd.getpwuid = lambda uid: SimpleNamespace(pw_name=os.environ["TEST_LOGIN"], pw_uid=uid)
